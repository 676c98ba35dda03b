package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

const columns = `number, customer, state, cents`

// list shows the invoices that the caller may read: its condition is a part of the statement.
func (a *app) list(w http.ResponseWriter, r *http.Request) {
	access, _ := httpadapter.AccessFrom(r.Context())
	rows, _ := httpadapter.RowsFrom(r.Context())
	mine, err := invoices.Bind(rows)
	if err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	where, args := mine.SQL(a.dialect, 2)
	found, err := a.db.QueryContext(r.Context(), a.statement(`SELECT `+columns+` FROM invoices WHERE tenant = ?`)+
		` AND `+where+` ORDER BY number`, append([]any{access.Owner()}, args...)...)
	if err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	defer found.Close()
	list := []latchkey.Row{}
	for found.Next() {
		row, err := scan(found)
		if err != nil {
			a.auth.WriteError(w, r, err)
			return
		}
		list = append(list, row)
	}
	if err := found.Err(); err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	reply(w, http.StatusOK, list)
}

// create adds an invoice. Prepare checks the row and writes the tenant into it.
func (a *app) create(w http.ResponseWriter, r *http.Request) {
	access, _ := httpadapter.AccessFrom(r.Context())
	httpadapter.RowsNotNeeded(r.Context()) // Prepare applies them
	row, ok := a.body(w, r)
	if !ok {
		return
	}
	row, err := access.Prepare(latchkey.Create, "invoice/new", invoices, nil, row)
	if err == nil {
		_, err = a.db.ExecContext(r.Context(), a.statement(`INSERT INTO invoices (tenant, `+columns+`)
			VALUES (?, ?, ?, ?, ?)`), row["tenant"], row["number"], row["customer"], row["state"], row["cents"])
	}
	if err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	reply(w, http.StatusCreated, row)
}

// update changes an invoice. Prepare checks the row as it is and as it will be.
func (a *app) update(w http.ResponseWriter, r *http.Request) {
	access, _ := httpadapter.AccessFrom(r.Context())
	httpadapter.RowsNotNeeded(r.Context()) // Prepare applies them
	changes, ok := a.body(w, r)
	if !ok {
		return
	}
	tenant, number := access.Owner(), chi.URLParam(r, "number")
	before, err := scan(a.db.QueryRowContext(r.Context(), a.statement(`SELECT `+columns+` FROM invoices
		WHERE tenant = ? AND number = ?`), tenant, number))
	if errors.Is(err, sql.ErrNoRows) {
		err = latchkey.ErrNotFound
	}
	if err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	before["tenant"] = tenant
	after := latchkey.Row{"tenant": tenant, "number": number, "customer": changes["customer"], "state": changes["state"],
		"cents": changes["cents"]}
	row, err := access.Prepare(latchkey.Update, latchkey.Path("invoice", number), invoices, before, after)
	if err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	// Only the row that was judged: another writer may have been faster.
	done, err := a.db.ExecContext(r.Context(), a.statement(`UPDATE invoices SET customer = ?, state = ?, cents = ?
		WHERE tenant = ? AND number = ? AND customer = ? AND state = ? AND cents = ?`), row["customer"], row["state"],
		row["cents"], tenant, number, before["customer"], before["state"], before["cents"])
	if err == nil {
		var n int64
		if n, err = done.RowsAffected(); err == nil && n == 0 {
			err = latchkey.ErrConflict
		}
	}
	if err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	reply(w, http.StatusOK, row)
}

// mintForCustomer gives a page of a customer a token for its own invoices.
func (a *app) mintForCustomer(w http.ResponseWriter, r *http.Request) {
	access, _ := httpadapter.AccessFrom(r.Context())
	token, secret, err := access.Mint(r.Context(), forCustomer(chi.URLParam(r, "id")))
	if err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	a.secret(w, token.ID, secret)
}

// issueKey gives a colleague a key. The caller gives no more than it has.
func (a *app) issueKey(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		ID, Role, Client, Name string
		PerDay                 latchkey.Credits
	}
	if err := read(w, r, &ask); err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	account, ok := a.actor(w, r)
	if !ok {
		return
	}
	token, secret, err := account.Issue(r.Context(), latchkey.Spec{
		Kind: latchkey.KindAPIKey, Name: ask.Name, Roles: []string{ask.Role},
		Client: latchkey.Client{ID: ask.Client, Name: ask.Name}, Limits: perDay(ask.PerDay)})
	if err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	a.secret(w, token.ID, secret)
}

// rotateKey gives a key a new secret. The old one works for another day.
func (a *app) rotateKey(w http.ResponseWriter, r *http.Request) {
	account, ok := a.actor(w, r)
	if !ok {
		return
	}
	id := chi.URLParam(r, "id")
	secret, err := account.RotateWith(r.Context(), id, latchkey.Rotation{Overlap: 24 * time.Hour})
	if err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	a.secret(w, id, secret)
}

// revokeKey ends a key, and all that was minted from it, before it replies.
func (a *app) revokeKey(w http.ResponseWriter, r *http.Request) {
	account, ok := a.actor(w, r)
	if !ok {
		return
	}
	if err := account.Revoke(r.Context(), chi.URLParam(r, "id"), "revoked by an admin"); err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// audit shows who did what, newest first.
func (a *app) audit(w http.ResponseWriter, r *http.Request) {
	account, ok := a.actor(w, r)
	if !ok {
		return
	}
	page, err := account.EventsPage(r.Context(), latchkey.EventQuery{Reverse: true,
		Page: latchkey.Page{After: r.URL.Query().Get("after"), Limit: 50}})
	if err != nil {
		a.auth.WriteError(w, r, err)
		return
	}
	reply(w, http.StatusOK, page)
}

// actor returns the account of the tenant, acted on as the caller.
func (a *app) actor(w http.ResponseWriter, r *http.Request) (latchkey.Account, bool) {
	access, _ := httpadapter.AccessFrom(r.Context())
	account, err := a.keys.For(access.Owner()).As(access)
	if err != nil {
		a.auth.WriteError(w, r, err)
	}
	return account, err == nil
}

func (a *app) secret(w http.ResponseWriter, id string, secret latchkey.Secret) {
	httpadapter.ForbidStoring(w.Header())
	reply(w, http.StatusCreated, map[string]string{"id": id, "secret": secret.Reveal()})
}

// body reads an invoice. Numbers stay as they are written.
func (a *app) body(w http.ResponseWriter, r *http.Request) (row latchkey.Row, ok bool) {
	if err := read(w, r, &row); err != nil {
		a.auth.WriteError(w, r, err)
		return nil, false
	}
	return row, true
}

func read(w http.ResponseWriter, r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", latchkey.ErrInvalid, err)
	}
	return nil
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		log.Print(err)
	}
}

func scan(from interface{ Scan(...any) error }) (latchkey.Row, error) {
	var number, customer, state string
	var cents int64
	err := from.Scan(&number, &customer, &state, &cents)
	return latchkey.Row{"number": number, "customer": customer, "state": state, "cents": cents}, err
}

// statement writes the placeholders of the dialect.
func (a *app) statement(text string) string {
	if a.dialect != latchkey.Postgres {
		return text
	}
	for n := 1; strings.Contains(text, "?"); n++ {
		text = strings.Replace(text, "?", "$"+strconv.Itoa(n), 1)
	}
	return text
}
