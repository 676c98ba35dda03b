package webforce

import (
	"strings"

	"github.com/latchkey-go/latchkey"
)

// The product's documents leave these questions open. Each answer is a constant or function here, and an option where
// another answer is plausible. docs/rulings.md lists them with their reasons.

// Origin marks tokens made here (latchkey.Token.Origin). Only such tokens are listed and changed here.
const Origin = "webforce"

// Meter is the meter of commands, for latchkey.UsageQuery. The endpoint is the command ("db.get"). A session of the
// host's own is counted without a token, with the client it was assumed for.
const Meter = "webforce"

// The five flags of a database are these actions.
const (
	Get    = latchkey.Read   // read data
	Update = latchkey.Update // update cells
	Add    = latchkey.Create // add rows, columns, databases
	Remove = latchkey.Delete // remove rows, columns, databases
	Alter  = latchkey.Alter  // change what databases, virtual databases and columns are
)

// flags are the flags by name, in the order of the documents.
var flags = []struct {
	name   string
	action latchkey.Action
}{{"get", Get}, {"update", Update}, {"add", Add}, {"remove", Remove}, {"alter", Alter}}

// Database returns the resource of a database's flags.
func Database(id string) latchkey.Resource { return latchkey.Path("db", id) }

// newDatabase stands for a database that does not exist yet. It has no id, and no token can name the empty id. So
// only ["*"] grants rights on it.
var newDatabase = Database("")

// everyDatabase is ["*"]: all databases of the account, future ones included.
var everyDatabase = latchkey.Under("db")

// StockImages is the resource of the group stock_images. Its action is [latchkey.Use].
const StockImages latchkey.Resource = "service/stock_images"

// Overlay is the meaning of a database that several entries of db_permissions name: "the permissions are overlapped
// in the order the database ID exists". ["*"] names every database at its place in that order.
type Overlay uint8

const (
	// OverlayFlags: a later entry decides the flags it names; the others stay. This is what the sentence literally says:
	// under OverlayUnion the order would not matter.
	OverlayFlags Overlay = iota
	// OverlayEntries: a later entry replaces all flags of the databases it names.
	OverlayEntries
	// OverlayUnion: a flag is set if any entry sets it.
	OverlayUnion
)

// mayAdminister reports whether access may call access.*. The documents accept only a session id as auth_token there.
// So a token in a web page cannot make another one. Kind 0 is a session of the host's own (Options.Session).
func mayAdminister(access latchkey.Access) bool {
	return access.Kind() == latchkey.KindSession || access.Kind() == 0 && access.Owner() != ""
}

// needOf returns the requirement of a command of the product, and whether it is one. No document lists flags per
// method: these follow from the description of each flag. Two flags cover the structure of databases. Both are
// required unless either is set.
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
		return Verified, true // the host must leave out what Call.May does not allow
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
	nameVersion = "version" // "1.0", also the default; others are refused
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

// Bounds. The documents name none. Package form bounds requests.
const (
	maxName    = 256 // bytes
	maxTokenID = 64
)

// Every reply is HTTP 200. The product's client parses no other, so its callback would get no message. return_code
// has two values, so the message says what went wrong.
//
// One message stands for every auth_token that is missing, invalid or not allowed. Another stands for every token_id
// that is not found, including that of another owner. So a reply does not reveal whether a token exists.
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
	msgTooManyTokens  = "Too many tokens"
	msgRateLimited    = "Too many requests"
	msgUnavailable    = "Temporarily unavailable"
	msgInternal       = "Internal error"
)

// ResourceTypes returns what the rules of this package are about, for a host's [latchkey.Catalogue]. Each call returns
// new values.
func ResourceTypes() []latchkey.ResourceType {
	var actions []latchkey.Action
	for _, f := range flags {
		actions = append(actions, f.action)
	}
	return []latchkey.ResourceType{
		{Template: "db/{id}", Name: "database", Actions: actions},
		{Template: string(StockImages), Name: "stock images", Actions: []latchkey.Action{latchkey.Use}},
	}
}
