package api

import (
	"net/http"

	"github.com/latchkey-go/latchkey"
)

func (c *call) listClients(*none) (List[latchkey.Client], error) {
	page, err := c.page()
	if err != nil {
		return List[latchkey.Client]{}, err
	}
	l, err := c.account.ClientsPage(c.ctx(), page)
	return list(c, l, func(client latchkey.Client) latchkey.Client { return client }), err
}

func (c *call) getClient(*none) (latchkey.Client, error) { return c.account.Client(c.ctx(), c.id()) }

const maxClientID = 256 // bytes; no client has a longer one

// mediaLines is the type of JSON texts, one a line.
const mediaLines = "application/jsonl"

func (c *call) exportClient() error {
	if len(c.id()) > maxClientID {
		return latchkey.ErrNotFound
	}
	out := lines{w: c.w, head: c.r.Method == http.MethodHead}
	if err := c.account.ExportClient(c.ctx(), c.id(), &out); err != nil {
		if out.begun {
			panic(http.ErrAbortHandler) // what was sent must not read as all there is
		}
		return err
	}
	if out.flush() != nil {
		panic(http.ErrAbortHandler) // the rest is missing
	}
	return nil
}

// lines is the body of an export. What fits is held back until the export is known whole.
type lines struct {
	w     http.ResponseWriter
	head  bool
	begun bool
	held  []byte
}

const heldLines = 1 << 20

func (l *lines) Write(p []byte) (int, error) {
	if l.held = append(l.held, p...); len(l.held) > heldLines {
		return len(p), l.flush()
	}
	return len(p), nil
}

func (l *lines) flush() error {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", mediaLines)
		l.w.WriteHeader(http.StatusOK)
	}
	text := l.held
	l.held = l.held[:0]
	if l.head {
		return nil
	}
	_, err := l.w.Write(text)
	return err
}

func (c *call) eraseClient(*none) (none, error) {
	return none{}, c.account.EraseClient(c.ctx(), c.id())
}

func clientOperations() []*operation {
	export := handle(operation{id: "exportClient", method: http.MethodGet, path: "/clients/{id}/export", tag: "client",
		summary: "Export all that is kept about a client", media: mediaLines,
		text: "Lines of JSON, each an object with one member: client, token, usage or event. A reply that breaks off is " +
			"incomplete."}, func(*call, *none) (none, error) { return none{}, nil })
	export.status, export.serve = http.StatusOK, (*call).exportClient
	return []*operation{
		handle(operation{id: "listClients", method: http.MethodGet, path: "/clients", tag: "client",
			summary: "List clients", text: "Those that a token was made for, by id, each with the newest name given.",
			query: pageParameters}, (*call).listClients),
		handle(operation{id: "getClient", method: http.MethodGet, path: "/clients/{id}", tag: "client",
			summary: "Read a client"}, (*call).getClient),
		export,
		handle(operation{id: "eraseClient", method: http.MethodDelete, path: "/clients/{id}", tag: "client",
			summary: "Erase a client", text: "It deletes the tokens of the client with all that was minted from them, the " +
				"name, and what the audit trail holds of them. To erase a client that is not known is no error. After a " +
				"failure, send it again.",
			absent: true, refuses: []int{409}}, (*call).eraseClient),
	}
}
