package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey"
)

// A token is read by one statement, which is one cut, with the epoch of that cut. Its owner, its roles and usually its
// ancestors are in the Store's cache, as of the same epoch. What is not cached takes statements of its own, which read
// the epoch too. If the epoch is the same, nothing that could alter an answer happened between the statements.
//
// The epoch is on the left of a join. If it is missing there is no row, which is an error and never "not found".

const (
	selectPresented = `SELECT e.epoch, s.owner, s.token_id, s.found, s.owner_version, s.used FROM latchkey_epoch e
	LEFT JOIN latchkey_secrets s ON s.signing = 0 AND s.digest `
	atEpoch = ` WHERE e.id = 1`

	// The second condition is that of selectPresented for secrets with an algorithm, which have another value there.
	selectByLookup = `SELECT e.epoch, s.owner, s.token_id, s.found, s.owner_version, s.used, s.algorithm, s.lookup,
	s.hash FROM latchkey_epoch e LEFT JOIN latchkey_secrets s ON s.lookup = ? AND s.signing = 2` + atEpoch

	selectByID = `SELECT e.epoch, ` + tokenColumns + ` FROM latchkey_epoch e
	LEFT JOIN latchkey_tokens t ON t.owner = ? AND t.id = ?` + atEpoch
)

const selectOwner = `SELECT ` + ownerColumns + `, e.epoch FROM latchkey_epoch e
	LEFT JOIN latchkey_owners o ON o.owner = ? WHERE e.id = 1`

// selectDependencies returns the epoch (part 0), the token and its ancestors (part 1, by distance), and roles (part 2).
// The roles are those that one of the tokens names or inherits. UNION ends a cycle of roles; the bound on the distance
// ends a cycle of parents. CROSS JOIN is an inner join in every engine. It makes SQLite begin at the left: otherwise it
// may scan all of an owner's rows.
const selectDependencies = `WITH RECURSIVE chain (id, parent, distance) AS (
		SELECT id, parent, 0 FROM latchkey_tokens WHERE owner = ? AND id = ?
		UNION ALL
		SELECT t.id, t.parent, c.distance + 1 FROM chain c CROSS JOIN latchkey_tokens t
		WHERE t.owner = ? AND t.id = c.parent AND c.parent <> '' AND c.distance < 255),
	closure (id) AS (
		SELECT x.role_id FROM chain c CROSS JOIN latchkey_token_roles x WHERE x.owner = ? AND x.token_id = c.id
		UNION
		SELECT i.inherits_id FROM closure k CROSS JOIN latchkey_role_inherits i WHERE i.owner = ? AND i.role_id = k.id)
	SELECT 1, c.distance, t.id, '', t.parent, '', t.version, t.owner_version, t.used, NULL, t.record FROM chain c
		CROSS JOIN latchkey_tokens t WHERE t.owner = ? AND t.id = c.id
	UNION ALL
	SELECT 2, r.version, r.id, r.owner, r.origin, r.name, r.inherit_denies, 0, NULL, r.extra, r.body
		FROM closure k CROSS JOIN latchkey_roles r WHERE r.owner = ? AND r.id = k.id
	UNION ALL
	SELECT 0, epoch, '', '', '', '', 0, 0, NULL, NULL, '' FROM latchkey_epoch WHERE id = 1`

// maxCuts bounds how often a cut is tried while others change records. A try fails only if a change falls between two
// statements.
const maxCuts = 100

var errNoCut = errors.New("too many changes at once to read a consistent cut")

// ByDigest implements latchkey.Store.
func (s *Store) ByDigest(ctx context.Context, _ latchkey.Slot, digests ...[32]byte) (found latchkey.Found, err error) {
	if len(digests) == 0 {
		return found, mapError(ctx, "find token", contractError(latchkey.ErrNotFound, "no digest"))
	}
	args := make([]any, 0, 4)
	for i := range digests {
		args = append(args, digests[i][:])
	}
	// The number of digests is a power of two, so that few statements are prepared. A digest given twice changes nothing.
	text := selectPresented
	if len(args) > 1 {
		for len(args)&(len(args)-1) != 0 {
			args = append(args, digests[0][:])
		}
		text += `IN (?` + strings.Repeat(`, ?`, len(args)-1) + `)` + atEpoch
	} else {
		text += `= ?` + atEpoch
	}
	err = s.read(ctx, "find token", func() error {
		found, err = s.readCut(ctx, func() (latchkey.Found, bool, error) { return s.readPresented(ctx, text, args, digests) })
		return err
	})
	if err != nil {
		return latchkey.Found{}, err
	}
	return found, nil
}

// ByLookup implements latchkey.Store.
func (s *Store) ByLookup(ctx context.Context, lookup string) (found latchkey.Found, err error) {
	err = s.read(ctx, "find token", func() error {
		found, err = s.readCut(ctx, func() (latchkey.Found, bool, error) { return s.readByLookup(ctx, lookup) })
		return err
	})
	if err != nil {
		return latchkey.Found{}, err
	}
	return found, nil
}

// readByLookup reads a secret of another system with its token, and the epoch.
func (s *Store) readByLookup(ctx context.Context, lookup string) (f latchkey.Found, ok bool, err error) {
	var epoch uint64
	var owner, id, packed sql.NullString
	var ownerVersion, used sql.NullInt64
	var foreign foreignSecret
	found, err := s.first(ctx, selectByLookup, []any{[]byte(lookup)},
		append([]any{&epoch, &owner, &id, &packed, &ownerVersion, &used}, foreign.dest()...)...)
	if err != nil || !found {
		return f, false, orRowMissing(err, epochRow)
	}
	if packed.Valid {
		f, err = unpackFound(packed.String)
		if err != nil || f.Token.Owner != owner.String || f.Token.ID != id.String || string(foreign.lookup) != lookup {
			return latchkey.Found{}, false, damagedError(latchkey.ChangedToken, owner.String, id.String)
		}
		f.Token.OwnerVersion = uint64(ownerVersion.Int64)
		foreign.into(&f.Secret)
		f.Secret.Used = fromMicros(used)
	}
	f.Epoch = epoch
	return f, packed.Valid, nil
}

// readPresented reads a secret with its token, and the epoch. If it finds several, it returns the first in digests.
func (s *Store) readPresented(ctx context.Context, text string, args []any, digests [][32]byte) (
	f latchkey.Found, ok bool, err error) {
	var epoch uint64
	var owner, id, packed sql.NullString
	var ownerVersion, used sql.NullInt64
	take := func() error {
		if !packed.Valid {
			return nil
		}
		one, err := unpackFound(packed.String)
		one.Token.OwnerVersion, one.Secret.Used = uint64(ownerVersion.Int64), fromMicros(used)
		rank := slices.Index(digests, one.Secret.Digest)
		// A row that was not asked for is no answer. It is not "not found" either: the row of a digest was found.
		if err != nil || rank < 0 || one.Token.Owner != owner.String || one.Token.ID != id.String {
			return damagedError(latchkey.ChangedToken, owner.String, id.String)
		}
		if !ok || rank < slices.Index(digests, f.Secret.Digest) {
			f, ok = one, true
		}
		return nil
	}
	sawEpoch := false
	if len(args) == 1 { // a digest is unique
		if sawEpoch, err = s.first(ctx, text, args, &epoch, &owner, &id, &packed, &ownerVersion, &used); err == nil {
			err = take()
		}
	} else {
		err = s.each(ctx, text, args, func(rows *sql.Rows) error {
			sawEpoch = true
			if err := rows.Scan(&epoch, &owner, &id, &packed, &ownerVersion, &used); err != nil {
				return err
			}
			return take()
		})
	}
	if err != nil || !sawEpoch {
		return latchkey.Found{}, false, orRowMissing(err, epochRow)
	}
	f.Epoch = epoch
	return f, ok, nil
}

// Load implements latchkey.Store.
func (s *Store) Load(ctx context.Context, owner, tokenID string) (found latchkey.Found, err error) {
	err = s.read(ctx, "load token", func() error {
		found, err = s.readCut(ctx, func() (f latchkey.Found, ok bool, err error) {
			f.Token, f.Epoch, ok, err = s.readToken(ctx, owner, tokenID)
			if err == nil && f.Token.Damaged {
				var left map[string]latchkey.Token
				left, err = s.readDamagedTokens(ctx, owner, tokenID)
				f.Token, ok = left[tokenID], len(left) == 1
			}
			return f, ok, err
		})
		return err
	})
	if err != nil && !isDamaged(err) {
		return latchkey.Found{}, err
	}
	return found, err
}

// readToken reads a token without its dependencies, and the epoch. The token may be Damaged.
func (s *Store) readToken(ctx context.Context, owner, id string) (t latchkey.Token, epoch uint64, ok bool, err error) {
	var row tokenRow
	found, err := s.first(ctx, selectByID, []any{owner, id}, append([]any{&epoch}, row.dest()...)...)
	switch {
	case err != nil || !found:
		return t, 0, false, orRowMissing(err, epochRow)
	case row.id.Valid:
		t = row.token(owner)
	}
	return t, epoch, row.id.Valid, nil
}

// readCut reads a token, its owner and its dependencies as of the same epoch.
func (s *Store) readCut(ctx context.Context, first func() (latchkey.Found, bool, error)) (latchkey.Found, error) {
	for range maxCuts {
		was := s.cache.mark() // before the statement: see recordCache
		f, ok, err := first()
		if err != nil || !ok {
			return latchkey.Found{}, orNotFound(err, "no such token")
		}
		if err := s.catchUp(ctx, f.Epoch, was); err != nil {
			return latchkey.Found{}, err
		}
		whole, err := s.completeCut(ctx, &f, was)
		if err != nil {
			return latchkey.Found{}, err
		}
		if whole {
			return f, findDamage(&f)
		}
	}
	return latchkey.Found{}, errNoCut
}

// completeCut adds to a token the owner, ancestors and roles as of its epoch. It returns false if the owner's records
// may have changed meanwhile. Damaged records are not cached, nor is anything that was read with them.
func (s *Store) completeCut(ctx context.Context, f *latchkey.Found, was cacheMark) (whole bool, err error) {
	latest := f.Epoch // of what was read; all of it is compared at once, which may take a reading of the feed
	ownerCached := s.cache.owner(f, was)
	if !ownerCached {
		epoch, err := s.readOwnerRecord(ctx, f)
		if err != nil || epoch < latest {
			return false, err
		}
		latest = epoch
	}
	if f.Owner.Since > 0 && f.Token.OwnerVersion == 0 && !f.Token.Damaged {
		// A program of the first schema may have made the secret, without the owner's version. The token's row has it.
		t, epoch, ok, err := s.readToken(ctx, f.Token.Owner, f.Token.ID)
		if err != nil || epoch < latest {
			return false, err
		}
		if latest = epoch; ok {
			f.Token.OwnerVersion = t.OwnerVersion
		}
	}
	var read dependenciesRead
	if !f.Token.Damaged { // otherwise its dependencies are not known
		if read, err = s.completeChain(ctx, f, was, latest); err != nil || !read.exists {
			return false, err
		}
		latest = read.epoch
	}
	if same, err := s.sameCut(ctx, f, latest, was); err != nil || !same {
		return false, err
	}
	if !ownerCached && !f.Owner.Damaged {
		s.cache.addOwner(f, was)
	}
	if findDamage(f) == nil {
		if read.ancestors {
			s.cache.addAncestors(f, was)
		}
		if read.roles {
			s.cache.addRoles(f, was)
		}
	}
	return true, nil
}

// dependenciesRead says what completeChain has read, and the epoch of the last reading. Exists is false if the token is
// gone, or if an epoch went back: the cut must be read again.
type dependenciesRead struct {
	epoch                    uint64
	exists, ancestors, roles bool
}

// completeChain adds the ancestors and the roles. Latest is the epoch of what was read last.
func (s *Store) completeChain(ctx context.Context, f *latchkey.Found, was cacheMark, latest uint64) (
	read dependenciesRead, err error) {
	read = dependenciesRead{epoch: latest, exists: true}
	if s.cache.ancestors(f, was) {
		if s.cache.roles(f, was) {
			return read, nil
		}
	} else if f.Token.Depth == 1 { // the parent is usually the root, which is found without recursion
		parent, epoch, ok, err := s.readToken(ctx, f.Token.Owner, f.Token.Parent)
		if err != nil || epoch < latest {
			return dependenciesRead{}, err
		}
		read.epoch, read.ancestors = epoch, true
		if ok && !parent.Damaged && parent.Parent == "" {
			f.Ancestors = []latchkey.Token{parent}
			if s.cache.roles(f, was) {
				return read, nil
			}
		}
	}
	f.Ancestors, f.Roles = nil, nil
	epoch, exists, err := s.readDependencies(ctx, f)
	return dependenciesRead{epoch, exists && epoch >= read.epoch, true, true}, err
}

// readOwnerRecord reads the owner's record, and the epoch.
func (s *Store) readOwnerRecord(ctx context.Context, f *latchkey.Found) (epoch uint64, err error) {
	var row ownerRow
	found, err := s.first(ctx, selectOwner, []any{f.Token.Owner}, append(row.dest(), &epoch)...)
	if err != nil || !found {
		return 0, orRowMissing(err, epochRow)
	}
	f.Owner = row.owner(f.Token.Owner)
	return epoch, nil
}

// readDependencies reads the ancestors and the roles, and their epoch. Purge does not advance the epoch, so the token
// itself may be gone. Then it has none, which says nothing about the roles that it names.
func (s *Store) readDependencies(ctx context.Context, f *latchkey.Found) (epoch uint64, exists bool, err error) {
	owner := f.Token.Owner
	type ancestor struct {
		distance uint64
		token    latchkey.Token
	}
	var chain []ancestor
	sawEpoch := false
	args := []any{owner, f.Token.ID, owner, owner, owner, owner, owner}
	err = s.each(ctx, selectDependencies, args, func(rows *sql.Rows) error {
		var part int
		var number uint64
		var role roleRow
		var token tokenRow
		err := rows.Scan(&part, &number, &role.r.ID, &role.r.Owner, &role.r.Origin, &role.r.Name, &role.denies,
			&token.ownerVersion, &token.used,
			&role.extra, &role.body)
		if err != nil {
			return err
		}
		switch part {
		case 0:
			epoch, sawEpoch = number, true
		case 1:
			token.id, token.version.Int64 = sql.NullString{String: role.r.ID}, role.denies
			token.record.String = string(role.body)
			t := token.token(owner)
			if number == 0 {
				exists = t.Version == f.Token.Version
				f.Token.Damaged = t.Damaged // its copy beside the secret may be whole
				return nil
			}
			if t.Damaged {
				t.Parent = role.r.Origin
			}
			chain = append(chain, ancestor{number, t})
		default:
			role.version = int64(number)
			f.Roles = append(f.Roles, role.role())
		}
		return nil
	})
	if err != nil || !sawEpoch {
		return 0, false, orRowMissing(err, epochRow)
	}
	slices.SortFunc(chain, func(a, b ancestor) int { return int(a.distance) - int(b.distance) })
	for _, a := range chain {
		f.Ancestors = append(f.Ancestors, a.token)
	}
	return epoch, exists, nil
}
