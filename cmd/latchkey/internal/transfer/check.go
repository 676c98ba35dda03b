package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-go/latchkey"
)

// Contents is what a file holds.
type Contents struct {
	Summary
	ID   string    // of the export
	At   time.Time // when it was begun
	Keys []uint32  // ids of the keys that secrets were made under; 0: under none
}

// Check reads a whole file, and returns an error for one that [Import] would not take: that was cut off or altered, or
// whose keys the keyring lacks. The error names the line, and repeats nothing of it.
func Check(ctx context.Context, r io.Reader, ring *latchkey.Keyring) (Contents, error) {
	var c Contents
	err := read(ctx, r, ring, func(h head) { c.ID, c.At = h.ID, h.At }, func(l *line) error {
		switch {
		case l.Owner != nil:
			c.Owners++
		case l.Event != nil:
			c.Events++
		case l.Usage != nil:
			c.Usage++
		case l.Credits != nil:
			c.Credits++
		case l.Role != nil:
			c.Roles++
		case l.Client != nil:
			c.Clients++
		case l.Token != nil:
			c.Tokens++
			c.Secrets += len(l.Secrets)
		case l.End != nil:
			c.Keys, c.Changed = l.End.Keys, l.End.Changed
		}
		return nil
	})
	return c, err
}

// read calls f with each line of a file but the first, in order, once it is known to be well-formed and in its place.
func read(ctx context.Context, r io.Reader, ring *latchkey.Keyring, begin func(head), f func(*line) error) error {
	lines := newReader(r)
	h, err := lines.head()
	if err != nil {
		return err
	}
	keys, err := newKeys(ring, h)
	if err != nil {
		return err
	}
	begin(h)
	var at place
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		l, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := at.check(&l); err != nil {
			return lines.fail("%w", err)
		}
		for i := range l.Secrets {
			if err := keys.check(l.Secrets[i].KeyID); err != nil {
				return lines.fail("%w", err)
			}
		}
		if err := f(&l); err != nil {
			return err
		}
	}
}

// keys are those of the keyring, compared with those that the file was made with.
type keys struct {
	have   map[uint32]bool
	others map[uint32]bool // the keyring's key has the id, and is another one
}

func newKeys(ring *latchkey.Keyring, h head) (*keys, error) {
	mine, err := checks(ring)
	if err != nil {
		return nil, err
	}
	k := &keys{have: map[uint32]bool{0: true}, others: map[uint32]bool{}}
	for _, m := range mine {
		k.have[m.ID] = true
		for _, theirs := range h.Keys {
			if theirs.ID == m.ID && theirs.Check != m.Check {
				k.others[m.ID] = true
			}
		}
	}
	return k, nil
}

func (k *keys) check(id uint32) error {
	switch {
	case k.others[id]:
		return fmt.Errorf("%w: the secret was made under key %d, and the keyring's key %d is another key: use the keyring "+
			"of the store that was exported", latchkey.ErrNeedsKeyring, id, id)
	case !k.have[id]:
		return fmt.Errorf("%w: the secret was made under key %d, which the keyring lacks: use the keyring of the store that "+
			"was exported", latchkey.ErrNeedsKeyring, id)
	}
	return nil
}

// section is the order of the lines of an owner.
type section uint8

const (
	ofOwner section = iota + 1
	ofEvents
	ofUsage
	ofCredits
	ofRoles
	ofClients
	ofTokens
	atEnd
)

// place is where in a file the reader is.
type place struct {
	owner string
	at    section
	last  string // the key of the line before, within the section
	seq   uint64
	// credits is the account before, nil if there was none of this owner.
	credits *latchkey.TakenCredits
}

var errOrder = errors.New("it is not in its place: the lines were put in another order, or one is there twice")

// enter moves to a section, and reports whether it may come here. Key is that of the line.
func (p *place) enter(s section, owner, key string) error {
	if s < p.at || p.at == 0 || owner != p.owner {
		return errOrder
	}
	if s > p.at {
		p.at, p.last = s, ""
	}
	if key != "" {
		if key <= p.last {
			return errOrder
		}
		p.last = key
	}
	return nil
}

// check returns an error for a line that stands in a wrong place, or whose record no store should get.
func (p *place) check(l *line) error {
	switch {
	case p.at == atEnd:
		return errOrder
	case l.End != nil:
		p.at = atEnd
		return nil
	case l.Owner != nil:
		o := l.Owner
		if o.ID == "" || p.at != 0 && o.ID <= p.owner || o.Damaged {
			return errOrder
		}
		*p = place{owner: o.ID, at: ofOwner}
		return o.Boundary.Validate()
	case l.Event != nil:
		if l.Event.Seq <= p.seq {
			return errOrder
		}
		p.seq = l.Event.Seq
		return p.enter(ofEvents, l.Event.Owner, "")
	case l.Usage != nil:
		u := l.Usage
		if u.Count < 0 || u.Credits < 0 || u.Day == "" {
			return errors.New("a count below zero, or of no day")
		}
		return p.enter(ofUsage, u.Owner, u.Day+"\x00"+u.TokenID+"\x00"+u.ClientID+"\x00"+u.Meter+"\x00"+u.Endpoint)
	case l.Credits != nil:
		if l.Credits.Taken <= 0 {
			return errors.New("an account of credits from which nothing is taken")
		}
		if err := p.enter(ofCredits, p.owner, ""); err != nil || p.credits != nil &&
			(latchkey.TakenQuery{}).Compare(*p.credits, *l.Credits) >= 0 {
			return cmp.Or(err, errOrder)
		}
		p.credits = l.Credits
		return nil
	case l.Role != nil:
		if err := p.enter(ofRoles, l.Role.Owner, l.Role.ID); err != nil || l.Role.ID == "" || l.Role.Damaged {
			return cmp.Or(err, errOrder)
		}
		return l.Role.Validate()
	case l.Client != nil:
		if l.Client.ID == "" {
			return errOrder
		}
		return p.enter(ofClients, p.owner, l.Client.ID)
	default:
		return p.token(l)
	}
}

func (p *place) token(l *line) error {
	t := l.Token
	if err := p.enter(ofTokens, t.Owner, t.ID); err != nil {
		return err
	}
	id, err := uuid.Parse(t.ID)
	switch {
	case err != nil || id.Version() != 7 || id.String() != t.ID:
		return errors.New("the id of a token is a UUIDv7 in lower case")
	case t.Damaged || !t.Kind.Valid():
		return errors.New("a token of no kind, or one that could not be read")
	case (t.Parent == "") != (t.Depth == 0) || (t.Kind == latchkey.KindAccess) != (t.Parent != "") || t.Parent == t.ID:
		return errors.New("a token that is minted and has no parent, or the reverse")
	}
	if err := t.Permissions.Validate(); err != nil {
		return err
	}
	for i := range l.Secrets {
		if _, err := l.Secrets[i].record(); err != nil {
			return err
		}
	}
	return nil
}
