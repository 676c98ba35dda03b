package sqlstore

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
)

// lastUse is a token's last use, and that of one of its secrets.
type lastUse struct {
	owner, token string
	at           time.Time
	digest       []byte // of the secret; empty: none, which no digest is
	secretAt     time.Time
	from         string
}

// addressText returns an address as it is stored. The zero address is the empty text.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.WithZone("").String()
}

// parseAddress reads an address as it is stored. One that cannot be read is not known.
func parseAddress(text string) netip.Addr {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return a
}

// lastUseRounds returns last uses, sorted by token, in rounds that have each token once. There is more than one round
// only where several secrets of a token were used. Every round has the token's latest use, so the first one writes it.
func lastUseRounds(last []latchkey.LastUsed) (rounds [][]lastUse) {
	for len(last) > 0 {
		n := 1
		for n < len(last) && last[n].Owner == last[0].Owner && last[n].TokenID == last[0].TokenID {
			n++
		}
		group := slices.Clone(last[:n])
		last = last[n:]
		slices.SortStableFunc(group, func(x, y latchkey.LastUsed) int { return y.At.Compare(x.At) })
		use, round := lastUse{owner: group[0].Owner, token: group[0].TokenID, at: group[0].At}, 0
		for i := range group {
			l := &group[i]
			same := func(m latchkey.LastUsed) bool { return m.Digest == l.Digest }
			if l.Digest == zeroDigest || slices.ContainsFunc(group[:i], same) {
				continue
			}
			use.digest, use.secretAt, use.from = l.Digest[:], l.At, addressText(l.From)
			rounds = addToRound(rounds, round, use)
			round++
		}
		if round == 0 {
			rounds = addToRound(rounds, 0, use)
		}
	}
	return rounds
}

func addToRound(rounds [][]lastUse, round int, use lastUse) [][]lastUse {
	if round == len(rounds) {
		rounds = append(rounds, nil)
	}
	rounds[round] = append(rounds[round], use)
	return rounds
}

// raiseLastUsed writes last uses, sorted by token.
func (t *tx) raiseLastUsed(last []latchkey.LastUsed) error {
	for _, round := range lastUseRounds(last) {
		raise := t.raiseLastUsedCases
		if t.dialect().arrays {
			raise = t.raiseLastUsedArrays
		}
		if err := raise(round); err != nil {
			return err
		}
	}
	return nil
}

// maxLastUsed is how many tokens one statement updates.
const maxLastUsed = 64

// raiseLastUsedCases passes the values in CASE expressions. Row counts are powers of two, so that there are few
// statement texts.
func (t *tx) raiseLastUsedCases(last []lastUse) error {
	for size := maxLastUsed; len(last) > 0; last = last[size:] {
		for size > len(last) {
			size /= 2
		}
		part := last[:size]
		for i := range part { // the CASE of the statements matches the id without the owner
			if slices.ContainsFunc(part[:i], func(l lastUse) bool { return l.token == part[i].token }) {
				part = part[:1] // two owners have the same id
				break
			}
		}
		size = len(part)
		pairs := make([]any, 0, 2*size)
		// Each of these holds the arguments of one CASE.
		var at, packed, own, ownAt, from []any
		secrets := false
		for _, l := range part {
			pairs = append(pairs, l.owner, l.token)
			at, packed = append(at, l.token, micros(l.at)), append(packed, l.token, packedUsed(l.at))
			own, ownAt, from = append(own, l.token, l.digest), append(ownAt, l.token, micros(l.secretAt)),
				append(from, l.token, l.from)
			secrets = secrets || len(l.digest) > 0
		}
		when := strings.Repeat(` WHEN ? THEN ?`, size) + ` END`
		_, err := t.exec(`UPDATE latchkey_tokens SET used = CASE id`+when+` WHERE `+t.dialect().inRows("owner, id", size)+`
			AND (used IS NULL OR used < CASE id`+when+`)`, slices.Concat(at, pairs, at)...)
		if err != nil {
			return err
		}
		given := `CASE token_id` + when
		raised := t.dialect().concat(given, `COALESCE(substr(found, 9), '')`)
		older := `substr(found, 1, 8) < ` + given
		in := t.dialect().inRows("owner, token_id", size)
		if !secrets {
			_, err = t.exec(`UPDATE latchkey_secrets SET found = `+raised+` WHERE `+in+` AND `+older,
				slices.Concat(packed, pairs, packed)...)
		} else {
			// used comes after used_from: MySQL assigns from left to right, and a later expression sees the new value.
			newer := `digest = ` + given + ` AND (used IS NULL OR used < ` + given + `)`
			_, err = t.exec(`UPDATE latchkey_secrets SET
				used_from = CASE WHEN `+newer+` THEN `+given+` ELSE used_from END,
				used = CASE WHEN `+newer+` THEN `+given+` ELSE used END,
				found = CASE WHEN `+older+` THEN `+raised+` ELSE found END
				WHERE `+in+` AND (`+older+` OR `+newer+`)`,
				slices.Concat(own, ownAt, from, own, ownAt, ownAt, packed, packed, pairs, packed, own, ownAt)...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// raiseLastUsedArrays updates the rows in the order of the arrays, which is that of the tokens, as in every
// transaction. The first statement sets so: what follows is planned row by row of the arrays, by the index of tokens.
// Secrets come after tokens: the last statement must see them as they are once the tokens are locked.
func (t *tx) raiseLastUsedArrays(last []lastUse) error {
	rows := make([][]any, len(last))
	secrets := false
	for i, l := range last {
		rows[i] = []any{l.owner, l.token, micros(l.at), packedUsed(l.at), l.digest, micros(l.secretAt), l.from}
		secrets = secrets || len(l.digest) > 0
	}
	args := func(columns ...int) (out []any) {
		for _, column := range columns {
			out = append(out, arrayOf(rows, column))
		}
		return out
	}
	const given = `unnest(CAST(? AS text[]), CAST(? AS text[]), CAST(? AS `
	var set string
	if _, err := t.row(`SELECT `+t.dialect().planning, nil, &set); err != nil {
		return err
	}
	_, err := t.exec(`UPDATE latchkey_tokens t SET used = v.at FROM `+given+`bigint[])) AS v(owner, id, at)
		WHERE t.owner = v.owner AND t.id = v.id AND (t.used IS NULL OR t.used < v.at)`, args(0, 1, 2)...)
	if err != nil {
		return err
	}
	if !secrets {
		_, err = t.exec(`UPDATE latchkey_secrets s SET found = v.used || substr(s.found, 9)
			FROM `+given+`bytea[])) AS v(owner, id, used)
			WHERE s.owner = v.owner AND s.token_id = v.id AND substr(s.found, 1, 8) < v.used`, args(0, 1, 3)...)
		return err
	}
	const newer = `s.digest = v.own AND (s.used IS NULL OR s.used < v.at)`
	_, err = t.exec(`UPDATE latchkey_secrets s SET
			found = CASE WHEN substr(s.found, 1, 8) < v.used THEN v.used || substr(s.found, 9) ELSE s.found END,
			used = CASE WHEN `+newer+` THEN v.at ELSE s.used END,
			used_from = CASE WHEN `+newer+` THEN v.origin ELSE s.used_from END
		FROM `+given+`bytea[]), CAST(? AS bytea[]), CAST(? AS bigint[]), CAST(? AS text[]))
			AS v(owner, id, used, own, at, origin)
		WHERE s.owner = v.owner AND s.token_id = v.id AND (substr(s.found, 1, 8) < v.used OR `+newer+`)`,
		args(0, 1, 3, 4, 5, 6)...)
	return err
}
