package main

import (
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/httpadapter/apperate"
)

// quote is a sample of IEX Cloud's own data. The figures never change. They are not real prices.
type quote struct {
	Symbol        string  `json:"symbol"`
	CompanyName   string  `json:"companyName"`
	Currency      string  `json:"currency"`
	LatestPrice   float64 `json:"latestPrice"`
	PreviousClose float64 `json:"previousClose"`
	Change        float64 `json:"change"`
	LatestVolume  int64   `json:"latestVolume"`
}

var quotes = []quote{
	{"AAPL", "Apple Inc", "USD", 150.25, 149, 1.25, 51000000},
	{"MSFT", "Microsoft Corporation", "USD", 250.5, 252, -1.5, 22000000},
}

func quoteOf(symbol string) (quote, bool) {
	at := slices.IndexFunc(quotes, func(q quote) bool { return strings.EqualFold(q.Symbol, symbol) })
	if at < 0 {
		return quote{}, false
	}
	return quotes[at], true
}

func stockQuote(r *http.Request, _ *apperate.Call) (any, error) {
	q, ok := quoteOf(r.PathValue("symbol"))
	if !ok {
		return nil, apperate.ErrUnknownSymbol
	}
	switch r.PathValue("field") {
	case "":
		return q, nil
	case "latestPrice":
		return q.LatestPrice, nil
	case "previousClose":
		return q.PreviousClose, nil
	case "companyName":
		return q.CompanyName, nil
	}
	return nothingHere(r, nil)
}

func stockPrice(r *http.Request, _ *apperate.Call) (any, error) {
	q, ok := quoteOf(r.PathValue("symbol"))
	if !ok {
		return nil, apperate.ErrUnknownSymbol
	}
	return q.LatestPrice, nil
}

// coreQuotes replies with the records of the known symbols.
func coreQuotes(_ *http.Request, c *apperate.Call) (any, error) {
	found := []quote{}
	for _, symbol := range c.Keys {
		if q, ok := quoteOf(symbol); ok {
			found = append(found, q)
		}
	}
	return found, nil
}

func stockSymbols(*http.Request, *apperate.Call) (any, error) {
	list := []object{}
	for _, q := range quotes {
		list = append(list, object{"symbol": q.Symbol, "name": q.CompanyName, "currency": q.Currency, "isEnabled": true})
	}
	return list, nil
}
