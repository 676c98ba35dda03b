package webforce

import (
	"strings"

	"github.com/latchkey-go/latchkey"
)

// The product's documents leave these questions open. Each answer is one place: a constant or function here, and an
// option where another answer is plausible. docs/rulings.md lists them for people.

// Origin is what tokens made here are marked with (latchkey.Token.Origin). Only such tokens are listed and changed here.
const Origin = "webforce"

// Meter is what commands are counted under, for latchkey.UsageQuery. The endpoint is the command ("db.get"). A
// session of the host's own counts with no token, and with the client it was assumed for.
const Meter = "webforce"

// The five flags of a database are these actions.
const (
	Get    = latchkey.Read   // read data
	Update = latchkey.Update // update cells
	Add    = latchkey.Create // add rows, columns, databases
	Remove = latchkey.Delete // remove rows, columns, databases
	Alter  = latchkey.Alter  // change what databases, virtual databases and columns are
)

// flags are the flags by name, in the documents' order.
var flags = []struct {
	name   string
	action latchkey.Action
}{{"get", Get}, {"update", Update}, {"add", Add}, {"remove", Remove}, {"alter", Alter}}

// Database is the resource that the flags of a database are about.
func Database(id string) latchkey.Resource { return latchkey.Path("db", id) }

// newDatabase stands for a database that is still to be made. It has no id, so only ["*"] speaks about it: no token
// names the empty id.
var newDatabase = Database("")

// everyDatabase is ["*"]: all of the account's, those to come included.
var everyDatabase = latchkey.Under("db")

// StockImages is the resource of the group stock_images; the action is [latchkey.Use].
const StockImages latchkey.Resource = "service/stock_images"

// Overlay says what it means when one database is named in several entries of db_permissions: "the permissions are
// overlapped in the order the database ID exists". ["*"] names every database at its place in that order.
type Overlay uint8

const (
	// OverlayFlags lets a later entry decide about the flags it names; those it does not name stay as they were. It is
	// what the sentence says literally: under OverlayUnion no order would matter.
	OverlayFlags Overlay = iota
	// OverlayEntries lets a later entry replace all flags of the databases it names.
	OverlayEntries
	// OverlayUnion gives what any of the entries gives.
	OverlayUnion
)

// mayAdminister says who may call access.*: the documents name the session id as the one valid auth_token there. So a
// token that lies in a page can make no other one. A kind of 0 is a session of the host's own (Options.Session).
func mayAdminister(access latchkey.Access) bool {
	return access.Kind() == latchkey.KindSession || access.Kind() == 0 && access.Owner() != ""
}

// needOf says what a command of the product takes, and whether it is one. No document names flags per method: these
// follow from the words that describe each flag. Structure is claimed by two flags, and needs both unless either is set.
func needOf(name string, either bool) (Need, bool) {
	both := func(n func(...latchkey.Action) Need, flag latchkey.Action) Need {
		if either {
			return eitherOf(n(flag), n(Alter))
		}
		return n(flag, Alter)
	}
	switch name {
	case "db.get", "db.column.get":
		return OnDatabase(Get), true
	case "db.get_all":
		return Verified, true // the host leaves out what Call.May does not allow
	case "db.cell.update":
		return OnDatabase(Update), true
	case "db.update":
		return OnDatabase(Alter), true
	case "db.add":
		return both(OnNewDatabase, Add), true
	case "db.remove":
		return both(OnDatabase, Remove), true
	case "db.column.add":
		return both(OnDatabase, Add), true
	}
	if strings.HasPrefix(name, "site.stock_images.") {
		return OnStockImages, true
	}
	return nil, false
}

// Names of parameters.
const (
	nameCommand = "cmd"
	nameVersion = "version" // "1.0", which is also the default; another one is refused
	nameToken   = "auth_token"
	nameTokenID = "token_id"
	nameName    = "name"
	nameExtra   = "extra"
	nameMeta    = "meta"
	nameDB      = "db_id"
)

// Names in extra.
const (
	groupDatabases   = "db_permissions"
	groupStockImages = "stock_images"
	entryDatabases   = "databases"
	entryPermissions = "permissions"
)

// Bounds; the documents name none. A request is bounded by package form.
const (
	maxName    = 256 // bytes
	maxTokenID = 64
)

// Every reply is HTTP 200: the product's client parses no other, and its callback would get no message. return_code has
// two values, so what went wrong is told in words. One sentence stands for every auth_token that is missing, not good or
// not allowed to do this, and one for every token_id that is not there, be it another owner's: a reply tells nobody
// whether a token exists.
const (
	msgDenied         = "Access denied"
	msgNoToken        = "No such token"
	msgUnknownCommand = "Unknown command"
	msgManyTokens     = "More than one credential"
	msgBadRequest     = "Invalid request"
	msgNotFound       = "Not found"
	msgConflict       = "Conflict"
	msgTooLarge       = "Request too large"
	msgMediaType      = "Unsupported content type"
	msgOverLimit      = "Credit limit reached"
	msgRateLimited    = "Too many requests"
	msgUnavailable    = "Temporarily unavailable"
	msgInternal       = "Internal error"
)
