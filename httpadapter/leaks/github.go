package leaks

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// Headers of GitHub's reports.
const (
	headerKeyID     = "Github-Public-Key-Identifier"
	headerSignature = "Github-Public-Key-Signature"
)

// ErrUnknownKey is what the keys function of [GitHub] returns for an identifier that GitHub does not list.
var ErrUnknownKey = errors.New("leaks: no such public key")

// GitHub answers the reports of GitHub's secret scanning partner program. GitHub posts a JSON array of texts with where
// each was found, and signs it with ECDSA on P-256 and SHA-256. See "Secret scanning partner program" in GitHub's
// documentation.
//
// keys returns the public key of an identifier: see [ParseKeys] for the document that GitHub publishes. It is called
// for each request, so it keeps what it has fetched. It must fetch again for an identifier that it does not know, but
// not for each such request: anybody can send them. It returns [ErrUnknownKey] for an identifier that GitHub does not
// list.
//
// The answers:
//
//   - 200: every report was acted upon. The body is GitHub's feedback, one entry for each text of which something is
//     known: "true_positive" for that of a token, "false_positive" for what cannot be one. It names texts by their
//     digests.
//   - 400, 413, 415: the body is no report, is larger than 1 MiB, reports more than Options.Limit texts, or is no JSON.
//     Nothing was done.
//   - 403: the signature is missing or wrong, or its key is not known. Nothing was done.
//   - 405: the method is not POST.
//   - 503: the key could not be had, or the store or Options.Decide failed. Other reports of the request may have been
//     acted upon. GitHub may send all of them again.
//
// Nil options are ready to use. GitHub panics if m or keys is nil.
func GitHub(m *latchkey.Manager, keys func(ctx context.Context, id string) (*ecdsa.PublicKey, error),
	opts *Options) http.Handler {
	if keys == nil {
		panic("leaks: GitHub needs a function that returns GitHub's public keys")
	}
	return newHandler("GitHub", m, opts, func(h *handler, w http.ResponseWriter, r *http.Request) {
		body, ok := h.body(w, r, "application/json")
		if !ok {
			return
		}
		id, signature, ok := signatureOf(r)
		if !ok {
			h.refuse(w, http.StatusForbidden, "the signature is missing or malformed")
			return
		}
		key, err := keys(r.Context(), id)
		switch {
		case errors.Is(err, ErrUnknownKey) || err == nil && (key == nil || key.Curve != elliptic.P256()):
			h.refuse(w, http.StatusForbidden, "the key of the signature is not known")
			return
		case err != nil:
			h.unavailable(w, r, fmt.Errorf("the public key: %w", err))
			return
		}
		if digest := sha256.Sum256(body); !ecdsa.VerifyASN1(key, digest[:], signature) {
			h.refuse(w, http.StatusForbidden, "the signature does not match")
			return
		}
		reports, err := parseGitHub(body)
		if err != nil {
			h.refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		if results, ok := h.end(w, r, reports); ok {
			h.answer(w, feedback(reports, results))
		}
	})
}

// signatureOf returns the one identifier and the one signature of a request.
func signatureOf(r *http.Request) (id string, signature []byte, ok bool) {
	ids, signatures := r.Header[headerKeyID], r.Header[headerSignature]
	if len(ids) != 1 || len(signatures) != 1 || !isKeyID(ids[0]) {
		return "", nil, false
	}
	signature, err := base64.StdEncoding.DecodeString(signatures[0])
	return ids[0], signature, err == nil && len(signature) > 0
}

// isKeyID reports whether s may name a key: 1 to 128 letters, digits, "-" and "_". It comes from anybody, and the host
// may look it up.
func isKeyID(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(c rune) bool {
		return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
}

// parseGitHub reads the body of a report. Members that GitHub may add later are ignored.
func parseGitHub(body []byte) ([]Report, error) {
	var list []struct {
		Token  *string `json:"token"`
		Type   string  `json:"type"`
		URL    string  `json:"url"`
		Source string  `json:"source"`
	}
	// Names stay unique in any case, so that this is the only reading. No error of the decoder is shown: it may quote.
	if err := strictjson.Valid(body, 4); err != nil {
		return nil, errors.New("the body is not JSON with one meaning")
	}
	if err := json.Unmarshal(body, &list); err != nil || list == nil {
		return nil, errors.New("the body is not an array of reports")
	}
	reports := make([]Report, len(list))
	for i, item := range list {
		if item.Token == nil || *item.Token == "" {
			return nil, fmt.Errorf("report %d has no token", i)
		}
		reports[i] = Report{Text: *item.Token, Type: item.Type, URL: item.URL, Source: item.Source}
	}
	return reports, nil
}

// verdict is GitHub's feedback about one text.
type verdict struct {
	TokenHash string `json:"token_hash"` // the SHA-256 of the text, in base64
	TokenType string `json:"token_type"`
	Label     string `json:"label"`
}

// feedback returns what is known of the texts.
func feedback(reports []Report, results []Result) []verdict {
	verdicts := []verdict{}
	for i := range results {
		label := "true_positive"
		switch r := &results[i]; {
		case r.Known && r.Leak.Token.Kind != latchkey.KindPublishable:
		case r.Known || !r.Form:
			label = "false_positive" // it is public, or no text of ours
		default:
			continue // a token that was removed, or one of another store
		}
		sum := sha256.Sum256([]byte(reports[i].Text))
		verdicts = append(verdicts, verdict{base64.StdEncoding.EncodeToString(sum[:]), reports[i].Type, label})
	}
	return verdicts
}

// ParseKeys reads the document that GitHub publishes its public keys in: "public_keys" with "key_identifier", "key" (a
// PEM block) and "is_current". It returns them by their identifiers, also those that are no longer current, because a
// report may have been signed before. A key of another curve than P-256 is an error.
func ParseKeys(document []byte) (map[string]*ecdsa.PublicKey, error) {
	var d struct {
		Keys []struct {
			ID  string `json:"key_identifier"`
			Key string `json:"key"`
		} `json:"public_keys"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return nil, fmt.Errorf("leaks: GitHub's public keys: %w", err)
	}
	if len(d.Keys) == 0 {
		return nil, errors.New("leaks: GitHub's public keys: the document has none")
	}
	keys := map[string]*ecdsa.PublicKey{}
	for _, k := range d.Keys {
		block, _ := pem.Decode([]byte(k.Key))
		if block == nil || k.ID == "" {
			return nil, fmt.Errorf("leaks: GitHub's public key %q: no PEM block, or no identifier", k.ID)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("leaks: GitHub's public key %q: %w", k.ID, err)
		}
		key, ok := parsed.(*ecdsa.PublicKey)
		if !ok || key.Curve != elliptic.P256() {
			return nil, fmt.Errorf("leaks: GitHub's public key %q: not ECDSA on P-256", k.ID)
		}
		keys[k.ID] = key
	}
	return keys, nil
}
