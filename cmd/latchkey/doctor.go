package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/settings"
	"github.com/latchkey-go/latchkey/sqlstore"
)

var doctorCommand = command{
	name:    "doctor",
	summary: "check the settings, the store, the clocks and the keys, and say what to do",
	help: `
Checks what goes wrong in deployments: whether the settings and what they name can be read, and by which
accounts; whether the database answers, is migrated, and agrees with this machine's clock; whether the keyring
has the keys that secrets were made under; whether something purges the store; what processes left behind that
died; and what a backup of the database alone would miss. With -deep it reads every record of every owner, to
find those that are damaged. It changes nothing. Checks that follow from one that failed are left out.

Each check is ok, a note, a warning or a failure, with what to do. The exit code is 6 if there is a warning
or a failure, and 0 otherwise.`,
	output: `
one line for each check:
  {"check":"clock","level":"ok, note, warn or fail","found":"…","do":"what to do"}`,
	scope: scopeStore,
	define: func(f *flags) action {
		deep := f.Bool("deep", false, "read every record of every owner")
		return func(ctx context.Context, c *call) error {
			d := &doctor{c: c}
			d.run(ctx, *deep)
			if d.failed != nil {
				return d.failed
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if d.worst >= levelWarn {
				return errFindings
			}
			return nil
		}
	},
}

// level is how bad a finding is.
type level uint8

const (
	levelOK level = iota
	levelNote
	levelWarn
	levelFail
)

var levels = [...]struct {
	word  string
	style style
}{{"ok", good}, {"note", plain}, {"warn", uneasy}, {"fail", bad}}

// doctor runs the checks and prints what they find.
type doctor struct {
	c      *call
	worst  level
	failed error // of printing
}

// found prints a finding. Do is what to do, "" if nothing.
func (d *doctor) found(check string, l level, do, format string, args ...any) {
	d.worst = max(d.worst, l)
	text := oneLine(fmt.Sprintf(format, args...))
	if d.c.flags.json {
		d.failed = errors.Join(d.failed, d.c.printJSON(struct {
			Check string `json:"check"`
			Level string `json:"level"`
			Found string `json:"found"`
			Do    string `json:"do,omitempty"`
		}{check, levels[l].word, text, do}))
		return
	}
	on := colours(d.c.std.out)
	line := levels[l].style.of(fmt.Sprintf("%-4s", levels[l].word), on) + "  " + fmt.Sprintf("%-10s", check) + "  " +
		visible(text) + "\n"
	if do != "" {
		line += strings.Repeat(" ", 18) + "→ " + visible(do) + "\n"
	}
	_, err := d.c.std.out.WriteString(line)
	d.failed = errors.Join(d.failed, err)
}

func (d *doctor) run(ctx context.Context, deep bool) {
	s, err := d.c.settings()
	if err != nil {
		d.found("settings", levelFail, "", "%s", plainText(err))
		return
	}
	d.found("settings", levelOK, "", "%s can be read", s.Path())
	d.places(s)
	o, err := d.c.options()
	if err != nil {
		d.found("options", levelFail, "correct what the settings name, or the settings", "%s", plainText(err))
	} else {
		d.options(o)
	}
	db, dialect, openErr := d.c.database(ctx)
	if openErr != nil {
		d.found("database", levelFail, "see that it runs, and that store.dsn or store.file is right", "%s",
			plainText(openErr))
		d.backup(s)
		return
	}
	d.found("database", levelOK, "", "%s answers", s.Engine())
	usable := d.schema(ctx, db, dialect)
	if usable && err == nil {
		d.store(ctx, deep)
	}
	d.backup(s)
}

// places checks who can read the files that hold secrets, and the database.
func (d *doctor) places(s *settings.Settings) {
	if info, err := os.Stat(s.Path()); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
		d.found("settings", levelFail, "chmod go-w "+s.Path(), "others can write %s (%s): they could name another keyring",
			s.Path(), info.Mode().Perm())
	}
	for _, p := range s.Places() {
		if p.Variable != "" {
			l, do := levelOK, ""
			if os.Getenv(p.Variable) == "" {
				l, do = levelFail, "set it as the application has it"
				d.found(p.Member, l, do, "the variable %s of the environment is not set", p.Variable)
				continue
			}
			d.found(p.Member, l, do, "the variable %s of the environment is set", p.Variable)
			continue
		}
		info, err := os.Stat(p.File)
		if err != nil {
			if p.Member != "store.file" { // told with the database
				d.found(p.Member, levelFail, "restore the file, or name the right one", "%s", plainText(err))
			}
			continue
		}
		perm := info.Mode().Perm()
		switch {
		case runtime.GOOS == "windows":
			d.found(p.Member, levelNote, "see in its properties who can read it", "%s is there", p.File)
		case perm&0o022 != 0:
			d.found(p.Member, levelFail, "chmod 600 "+p.File, "others can write %s (%s)", p.File, perm)
		case perm&0o044 != 0 && p.Member == "store.file":
			d.found(p.Member, levelWarn, "chmod 600 "+p.File, "others can read the database %s (%s): digests of secrets, and "+
				"the audit trail", p.File, perm)
		case perm&0o044 != 0:
			d.found(p.Member, levelFail, "chmod 600 "+p.File+", and replace the secret if others could read it",
				"others can read %s (%s)", p.File, perm)
		default:
			d.found(p.Member, levelOK, "", "%s can be read by its owner alone", p.File)
		}
	}
}

func (d *doctor) options(o *latchkey.Options) {
	if o.Keyring == nil {
		d.found("keyring", levelNote, "a keyring keeps a stolen database from telling whether a text is a key, and lets "+
			"keys be shown again", "there is none: secrets are digested by plain SHA-256")
	} else if n := len(o.Keyring.IDs()); n > 1 {
		d.found("keyring", levelOK, "", "%d keys, of which %d is the current one", n, o.Keyring.IDs()[0])
	}
	if o.MaxStale > time.Minute {
		d.found("max_stale", levelWarn, "a revocation holds only after that time: a few seconds cost next to nothing",
			"a change is heard after up to %s", o.MaxStale)
	}
	if o.KeepRevoked < 0 || o.KeepExpired < 0 {
		d.found("retention", levelNote, "", "tokens that have ended are kept for ever: keep_expired or keep_revoked is never")
	}
}

// schema checks the tables, and reports whether a Store can use them.
func (d *doctor) schema(ctx context.Context, db *sql.DB, dialect latchkey.Dialect) bool {
	state, err := sqlstore.Inspect(ctx, db, dialect, time.Now())
	switch {
	case err != nil:
		d.found("schema", levelFail, "", "%s", plainText(err))
		return false
	case state.Version == 0:
		d.found("schema", levelFail, "latchkey migrate", "the database has no tables of latchkey")
		return false
	case len(state.Pending) > 0:
		d.found("schema", levelFail, "latchkey migrate", "version %d, and this program needs %d: %s", state.Version,
			state.Needed, strings.Join(state.Pending, ", "))
		return false
	case state.Version > state.Needed:
		d.found("schema", levelNote, "use the version of the command that the application has",
			"version %d, which a later version of latchkey made: this one knows %d", state.Version, state.Needed)
	default:
		d.found("schema", levelOK, "", "version %d, and nothing is pending", state.Version)
	}
	d.found("feed", levelOK, "", "epoch %d, with the changes from %d on", state.Epoch, state.Floor+1)
	if state.Overdue > 0 {
		d.found("credits", levelWarn, "latchkey purge gives back what they left", "%d of %d open reservations should have "+
			"lapsed: processes died, and nothing has purged since", state.Overdue, state.Open)
	} else {
		d.found("credits", levelOK, "", "%d open leases and reservations, and none overdue", state.Open)
	}
	return true
}

// store checks what a Manager does.
func (d *doctor) store(ctx context.Context, deep bool) {
	keys, err := d.c.keys(ctx)
	if err != nil {
		d.found("store", levelFail, "", "%s", plainText(err))
		return
	}
	d.found("store", levelOK, "", "it can be read and written")
	d.clock(ctx)
	d.keys(ctx, keys)
	d.purged(ctx, keys)
	if deep {
		d.records(ctx)
	}
}

// clock compares this machine's clock with that of the database.
func (d *doctor) clock(ctx context.Context) {
	for _, feed := range d.c.store.Feeds() {
		before := time.Now()
		f, err := d.c.store.Changes(ctx, feed, 0, 0)
		after := time.Now()
		if err != nil {
			d.found("clock", levelFail, "", "%s", plainText(err))
			continue
		}
		if f.Now.IsZero() {
			continue
		}
		skew := f.Now.Sub(before.Add(after.Sub(before) / 2)).Round(time.Millisecond)
		do := "set the clocks by NTP: beyond a minute every Verify is refused"
		switch off := skew.Abs(); {
		case off > time.Minute:
			d.found("clock", levelFail, do, "the store's clock and this machine's differ by %s", off)
		case off > 10*time.Second:
			d.found("clock", levelWarn, do, "the store's clock and this machine's differ by %s", off)
		default:
			d.found("clock", levelOK, "", "the store's clock and this machine's agree to within a second or so (%s)", off)
		}
	}
}

// keys compares the keyring with the keys that secrets were made under.
func (d *doctor) keys(ctx context.Context, keys *latchkey.Manager) {
	switch err := keys.CheckKeyring(ctx); {
	case errors.Is(err, latchkey.ErrNeedsKeyring):
		d.found("keys", levelFail, "let the settings name the keyring that the application has", "%s", plainText(err))
		return
	case err != nil:
		d.found("keys", levelFail, "", "%s", plainText(err))
		return
	}
	uses, err := keys.KeyUse(ctx)
	if err != nil {
		d.found("keys", levelFail, "", "%s", plainText(err))
		return
	}
	n := 0
	for _, u := range uses {
		n++
		what := fmt.Sprintf("key %d", u.KeyID)
		if u.KeyID == 0 {
			what = "no key"
		}
		d.found("keys", levelNote, "latchkey rekey moves those that are sealed; others move when they are used",
			"%d secrets were made under %s, %d of them sealed", u.Secrets, what, u.Sealed)
	}
	if n == 0 {
		d.found("keys", levelOK, "", "every secret was made under the current key")
	}
}

// purged looks for tokens that should have been removed long ago.
func (d *doctor) purged(ctx context.Context, keys *latchkey.Manager) {
	o, err := d.c.options()
	if err != nil || o.KeepExpired < 0 {
		return
	}
	keep := o.KeepExpired
	if keep == 0 {
		keep = 24 * time.Hour
	}
	const late = 24 * time.Hour
	limit := time.Now().Add(-keep - late)
	for t, err := range keys.Expiring(ctx, time.Time{}, limit) {
		if err != nil {
			break // a damaged one is told by -deep
		}
		d.found("purge", levelWarn, "let the application call Manager.Purge hourly, or run latchkey purge from cron",
			"nothing purges the store: a token ended at %s, and is kept for %s only", momentText(t.Validity.NotAfter), keep)
		return
	}
	d.found("purge", levelOK, "", "no token is left that ended long ago")
}

// records reads everything, to find what cannot be read.
func (d *doctor) records(ctx context.Context) {
	store := d.c.store
	shown := d.c.progress("records")
	n, damaged := 0, 0
	bad := func(owner, kind, id string) {
		damaged++
		shown.end()
		d.found("records", levelFail, "restore it from a backup, or revoke, delete or replace it",
			"the %s %q of owner %q cannot be read", kind, id, owner)
	}
	fail := func(err error) {
		shown.end()
		d.found("records", levelFail, "", "%s", plainText(err))
	}
	for owner, err := range allOwners(ctx, store) {
		if err != nil {
			fail(err)
			return
		}
		if _, err := store.Owner(ctx, owner); isDamaged(err) {
			bad(owner, "record", owner)
		} else if err != nil {
			fail(err)
			return
		}
		for q := (latchkey.RoleQuery{Page: latchkey.Page{Limit: 1000}}); ; {
			list, err := store.Roles(ctx, owner, q)
			if err != nil {
				fail(err)
				return
			}
			for _, r := range list {
				if n++; r.Damaged {
					bad(owner, "role", r.ID)
				}
			}
			if len(list) < q.Size() {
				break
			}
			q.After = list[len(list)-1].ID
		}
		for q := (latchkey.TokenQuery{Page: latchkey.Page{Limit: 1000}, Now: time.Now()}); ; {
			list, err := store.Tokens(ctx, owner, q)
			if err != nil {
				fail(err)
				return
			}
			for _, t := range list {
				if n++; t.Damaged {
					bad(owner, "token", t.ID)
				} else if _, err := store.Secrets(ctx, owner, t.ID); isDamaged(err) {
					bad(owner, "secret of token", t.ID)
				}
			}
			shown.set(n)
			if len(list) < q.Size() {
				break
			}
			q.After = q.Key(list[len(list)-1])
		}
	}
	shown.end()
	if damaged == 0 {
		d.found("records", levelOK, "", "%d tokens and roles can be read", n)
	}
}

// backup says what a backup of the database alone would miss.
func (d *doctor) backup(s *settings.Settings) {
	for _, p := range s.Places() {
		if p.Member != "keyring" && !strings.HasPrefix(p.Member, "legacy.") {
			continue
		}
		at := p.File
		if p.Variable != "" {
			at = "the variable " + p.Variable
		}
		d.found("backup", levelNote, "keep a copy of it, apart from those of the database: who has both has all secrets",
			"a copy of the database does not hold %s (%s). Without it no key of a restored copy works", p.Member, at)
	}
	if s.Engine() != settings.SQLite {
		return
	}
	path, err := s.DSN()
	if err != nil {
		return
	}
	if info, err := os.Stat(path + "-wal"); err == nil && info.Size() > 0 {
		d.found("backup", levelNote, fmt.Sprintf("sqlite3 %s \"VACUUM INTO 'copy.db'\" copies all, also while programs run",
			path), "a copy of %s alone lacks what still stands in %s-wal (%d bytes)", path, path, info.Size())
	}
}
