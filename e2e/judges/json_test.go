package judges

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/httpadapter/api"
	"github.com/latchkey-go/latchkey/httpadapter/authzen"
	"github.com/latchkey-go/latchkey/httpadapter/cloudtables"
	"github.com/latchkey-go/latchkey/httpadapter/datocms"
	"github.com/latchkey-go/latchkey/httpadapter/leaks"
	"github.com/latchkey-go/latchkey/internal/strictjson"
	"github.com/latchkey-go/latchkey/memstore"
	"github.com/latchkey-go/latchkey/settings"
)

// refusedDocuments are documents of JSONTestSuite that a parser must accept, and that latchkey refuses: they have more
// than one meaning. The list may only shrink.
var refusedDocuments = map[string]string{
	"y_object_duplicated_key.json":           "a name twice",
	"y_object_duplicated_key_and_value.json": "a name twice",
}

// acceptedAmbiguous are documents that a parser may accept or not, and that latchkey accepts. It refuses all in which a
// text is no Unicode, because readers make different texts of it. The list may only shrink.
var acceptedAmbiguous = map[string]string{
	"i_number_double_huge_neg_exp.json":   "numbers stay as they are written",
	"i_number_huge_exp.json":              "numbers stay as they are written",
	"i_number_neg_int_huge_exp.json":      "numbers stay as they are written",
	"i_number_pos_double_huge_exp.json":   "numbers stay as they are written",
	"i_number_real_neg_overflow.json":     "numbers stay as they are written",
	"i_number_real_pos_overflow.json":     "numbers stay as they are written",
	"i_number_real_underflow.json":        "numbers stay as they are written",
	"i_number_too_big_neg_int.json":       "numbers stay as they are written",
	"i_number_too_big_pos_int.json":       "numbers stay as they are written",
	"i_number_very_big_negative_int.json": "numbers stay as they are written",
}

// decoders are all that read JSON which another program wrote. Each returns whether it accepted a document.
func decoders(t *testing.T) map[string]func(document []byte) bool {
	t.Helper()
	into := func(v func() json.Unmarshaler) func([]byte) bool {
		return func(document []byte) bool { return v().UnmarshalJSON(document) == nil }
	}
	member := func(document []byte, before, after string) []byte {
		return []byte(before + string(document) + after)
	}
	ctx := context.Background()
	keys := latchkey.New(memstore.New(nil), nil)
	t.Cleanup(func() { require.NoError(t, keys.Close(ctx)) })
	acme := keys.For("acme")
	_, secret, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
	require.NoError(t, err)
	_, key, err := acme.Issue(ctx, latchkey.Spec{Kind: latchkey.KindAPIKey})
	require.NoError(t, err)
	auth := httpadapter.New(keys, nil)
	// served returns whether a handler did what a request asks for. None may fail.
	served := func(h http.Handler, target, media, before, after string, header ...string) func([]byte) bool {
		return func(document []byte) bool {
			r := httptest.NewRequest("POST", target, strings.NewReader(string(member(document, before, after))))
			r.Header.Set("Content-Type", media)
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Less(t, w.Code, 500, "%s: %q: %s", target, document, w.Body)
			return w.Code < 300
		}
	}
	bearer := "Bearer " + secret.Reveal()
	return map[string]func([]byte) bool{
		"strictjson.Unmarshal":     func(d []byte) bool { var v any; return strictjson.Unmarshal(d, &v) == nil },
		"strictjson.UnmarshalOpen": func(d []byte) bool { var v any; return strictjson.UnmarshalOpen(d, &v) == nil },
		"strictjson.Valid":         func(d []byte) bool { return strictjson.Valid(d, strictjson.MaxDepth) == nil },
		"strictjson.Find": func(d []byte) bool {
			_, err := strictjson.Find(member(d, `{"other":`, `,"token":"x"}`), "token")
			return err == nil
		},
		"Row":              into(func() json.Unmarshaler { return new(latchkey.Row) }),
		"Values":           into(func() json.Unmarshaler { return new(latchkey.Values) }),
		"Attributes":       into(func() json.Unmarshaler { return new(latchkey.Attributes) }),
		"Condition":        into(func() json.Unmarshaler { return new(latchkey.Condition) }),
		"Rule":             into(func() json.Unmarshaler { return new(latchkey.Rule) }),
		"Permissions":      into(func() json.Unmarshaler { return new(latchkey.Permissions) }),
		"Limits":           into(func() json.Unmarshaler { return new(latchkey.Limits) }),
		"Spec":             into(func() json.Unmarshaler { return new(latchkey.Spec) }),
		"Narrowing":        into(func() json.Unmarshaler { return new(latchkey.Narrowing) }),
		"a value of a row": func(d []byte) bool { return new(latchkey.Row).UnmarshalJSON(member(d, `{"a":`, `}`)) == nil },
		"a value of a condition": func(d []byte) bool {
			return new(latchkey.Condition).UnmarshalJSON(member(d, `{"field":"a","op":"=","value":`, `}`)) == nil
		},
		"ReadRoles": func(d []byte) bool {
			_, err := latchkey.ReadRoles(strings.NewReader(string(d)))
			return err == nil
		},
		"ReadCatalogue":   func(d []byte) bool { _, err := latchkey.ReadCatalogue(d); return err == nil },
		"settings":        func(d []byte) bool { _, err := settings.Parse("latchkey.json", d); return err == nil },
		"leaks.ParseKeys": func(d []byte) bool { _, err := leaks.ParseKeys(d); return err == nil },
		"api, a body":     served(api.Handler(auth, nil), "/tokens", "application/json", "", "", "Authorization", bearer),
		"api, a member": served(api.Handler(auth, nil), "/tokens", "application/json",
			`{"kind":"api_key","extra":`, `}`, "Authorization", bearer),
		"authzen": served(authzen.Handler(auth, &authzen.Options{URL: "https://pdp.example.com"}),
			"/access/v1/evaluation", "application/json",
			`{"subject":{"type":"token","id":"a"},"action":{"name":"read"},"resource":{"type":"a","id":"b","properties":`,
			`}}`, "Authorization", bearer),
		"cloudtables": served(cloudtables.Handler(acme, nil), "/io/api/1/access", "application/json",
			`{"conditions":`, `}`, "key",
			key.Reveal()),
		"datocms": served(datocms.Handler(acme, nil), "/roles", "application/json",
			`{"data":{"type":"role","attributes":`, `}}`, "Authorization", bearer, "X-Api-Version", "3", "Accept",
			"application/json"),
	}
}

// TestJSON gives each decoder of JSON all documents of JSONTestSuite.
func TestJSON(t *testing.T) {
	folder := module(t, "github.com/nst/JSONTestSuite")
	files, err := filepath.Glob(filepath.Join(folder, "test_parsing", "*.json"))
	require.NoError(t, err)
	require.Greater(t, len(files), 300)
	anything := map[string]bool{"strictjson.Unmarshal": true, "strictjson.UnmarshalOpen": true, "strictjson.Valid": true}
	accepted := map[string]int{}
	for name, decode := range decoders(t) {
		accepted[name] = 0
		for _, file := range files {
			document, err := os.ReadFile(file)
			require.NoError(t, err)
			base := filepath.Base(file)
			ok := decode(document)
			if ok {
				accepted[name]++
			}
			switch base[0] {
			case 'n':
				require.False(t, ok, "%s accepts %s, which is not JSON", name, base)
			case 'y', 'i':
				if name == "strictjson.Find" { // which decodes one member; who decodes the rest comes after it
					continue
				}
			}
			switch base[0] {
			case 'y':
				_, refused := refusedDocuments[base]
				if anything[name] {
					require.Equal(t, !refused, ok, "%s: %s", name, base)
				} else if refused {
					require.False(t, ok, "%s: %s", name, base)
				}
			case 'i':
				_, may := acceptedAmbiguous[base]
				if anything[name] {
					require.Equal(t, may, ok, "%s: %s", name, base)
				} else if !may {
					require.False(t, ok, "%s: %s", name, base)
				}
			}
		}
	}
	for _, name := range []string{"strictjson.Find", "Row", "a value of a row", "api, a member", "authzen"} {
		require.NotZero(t, accepted[name], "%s refuses everything, so the judge said nothing", name)
	}
	t.Logf("%d documents for %d decoders: none that is not JSON was accepted", len(files), len(accepted))
}

// TestJSONOfTwoMeanings: documents that parsers make different things of are refused, or kept to the byte.
func TestJSONOfTwoMeanings(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(module(t, "github.com/nst/JSONTestSuite"), "test_transform", "*.json"))
	require.NoError(t, err)
	require.Greater(t, len(files), 20)
	kept := 0
	for _, file := range files {
		document, err := os.ReadFile(file)
		require.NoError(t, err)
		base := filepath.Base(file)
		var v any
		err = strictjson.Unmarshal(document, &v)
		switch {
		case strings.HasPrefix(base, "number_"):
			require.NoError(t, err, base)
			text, err := json.Marshal(v)
			require.NoError(t, err)
			require.Equal(t, strings.TrimSpace(string(document)), string(text), "%s: a digit was lost", base)
			kept++
		case strings.Contains(base, "NULL"), strings.Contains(base, "_nf"):
			require.NoError(t, err, base) // names that are canonically equivalent are two names, and stay so
			text, err := json.Marshal(v)
			require.NoError(t, err)
			require.JSONEq(t, string(document), string(text), base)
			kept++
		default:
			require.Error(t, err, base)
		}
	}
	require.Greater(t, kept, 10)
}
