package webforce

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/form"
)

// Command is a command of the host's own: see [Options.Commands].
type Command struct {
	// Needs checks what the caller may do, before Run. Nil: what the product's documents say of the command, as far as
	// they describe it:
	//
	//	db.get, db.column.get            OnDatabase(Get)
	//	db.get_all                       Verified: leave out the databases that Call.May does not allow Get on
	//	db.cell.update                   OnDatabase(Update)
	//	db.update                        OnDatabase(Alter)
	//	db.add                           OnNewDatabase(Add, Alter), or either: Options.EitherFlag
	//	db.remove                        OnDatabase(Remove, Alter), or either
	//	db.column.add                    OnDatabase(Add, Alter), or either
	//	site.stock_images.<anything>     OnStockImages
	//
	// Required for every other command.
	Needs Need

	// Run executes the command. Its result becomes "data", as JSON; nil is {}. The reply to an *[Error] has its message;
	// that to other errors says what they mean (for a [latchkey.ErrNotFound], "Not found"). Databases of other accounts
	// do not exist: ["*"] means all of Call.Account's.
	Run func(r *http.Request, c Call) (data any, err error)
}

// Call is one call of a command.
type Call struct {
	Command string
	Account latchkey.Account // the request's, with every right of the host
	Access  latchkey.Access  // the caller

	params  *form.Value
	bounded bool
}

// May reports whether the caller has a flag on a database.
func (c Call) May(flag latchkey.Action, databaseID string) bool {
	return databaseID != "" && c.Access.Allows(flag, Database(databaseID))
}

// Need is the requirement of a command: it returns nil if the caller may run it.
type Need func(Call) error

// Verified accepts any valid auth_token. The command itself must check what it may show.
func Verified(Call) error { return nil }

// OnDatabase requires all these flags on the database that the parameter db_id names. It panics without a flag.
func OnDatabase(flags ...latchkey.Action) Need {
	requireFlags(flags)
	return func(c Call) error {
		id, err := c.Text(nameDB)
		if err != nil {
			return err
		}
		if id == "" {
			return refuse("Parameter db_id is empty") // the empty id stands for a new database
		}
		return checkAll(c, Database(id), flags)
	}
}

// OnNewDatabase requires all these flags on a database that has no id yet. Only ["*"] grants them. It panics without
// a flag.
func OnNewDatabase(flags ...latchkey.Action) Need {
	requireFlags(flags)
	return func(c Call) error { return checkAll(c, newDatabase, flags) }
}

// OnStockImages requires the group stock_images.
func OnStockImages(c Call) error { return c.Access.Check(latchkey.Use, StockImages) }

func requireFlags(flags []latchkey.Action) {
	if len(flags) == 0 {
		panic("webforce: OnDatabase and OnNewDatabase need at least one flag")
	}
}

func checkAll(c Call, on latchkey.Resource, flags []latchkey.Action) error {
	for _, f := range flags {
		if err := c.Access.Check(f, on); err != nil {
			return err
		}
	}
	return nil
}

func eitherOf(a, b Need) Need {
	return func(c Call) error {
		err := a(c)
		if errors.Is(err, latchkey.ErrDenied) {
			return b(c)
		}
		return err
	}
}

// sessionOnly is the requirement of access.*.
func sessionOnly(c Call) error {
	if !mayAdminister(c.Access) {
		return &latchkey.DeniedError{Action: latchkey.Use, Resource: latchkey.Path("latchkey", "token")}
	}
	return nil
}

// hostRun adapts a host's Run to ours.
func hostRun(run func(*http.Request, Call) (any, error)) func(*http.Request, Call) ([]byte, error) {
	return func(r *http.Request, c Call) ([]byte, error) {
		data, err := run(r, c)
		if err != nil || data == nil {
			return nil, err
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(data); err != nil {
			return nil, err
		}
		return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
	}
}
