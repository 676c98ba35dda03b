package apperate

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
	"github.com/latchkey-go/latchkey/internal/strictjson"
)

// WriteJSON writes v as JSON, with status 200 and the exact content type that the product's clients compare with. If
// v cannot be encoded, the reply is a 500.
func WriteJSON(w http.ResponseWriter, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		WriteError(w, nil, err)
		return
	}
	h := w.Header()
	commonHeaders(h)
	h.Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(text)
}

func (g *gateway) serveStatus(w http.ResponseWriter) {
	WriteJSON(w, struct {
		Status  string `json:"status"`
		Version string `json:"version"`
		Time    int64  `json:"time"`
	}{"up", "1.0", g.opts.Clock().UnixMilli()})
}

// serveAccount serves the account calls that the gateway implements. It returns false for others, which the host may
// serve. The caller holds the owner's secret token. Account calls are free.
func (g *gateway) serveAccount(w http.ResponseWriter, r *http.Request, c *Call, path []string, body []byte) bool {
	call := strings.Join(path, "/")
	var answer any
	account, err := c.Account.As(c.Access)
	switch {
	case err != nil:
	case isRead(r.Method) && call == "metadata":
		answer, err = g.metadata(r.Context(), account)
	case isRead(r.Method) && call == "usage":
		answer, err = g.usage(r.Context(), account)
	case isRead(r.Method) && (call == "usage/messages" || call == "usage/credits"):
		answer, err = g.creditUse(r.Context(), account)
	case isRead(r.Method) && (call == "usage/rules" || call == "usage/rule-records" || call == "usage/alerts" ||
		call == "usage/alert-records"):
		answer = []struct{}{} // rules of the product are not implemented
	case r.Method == http.MethodPost && call == "signed":
		answer, err = signingSecret(r.Context(), account, body)
	default:
		return false
	}
	if err != nil {
		g.writeError(w, r, err)
		return true
	}
	WriteJSON(w, answer)
	return true
}

type metadata struct {
	PayAsYouGoEnabled    bool   `json:"payAsYouGoEnabled"`
	EffectiveDate        int64  `json:"effectiveDate"` // ms: start of the month
	EndDateEffective     *int64 `json:"endDateEffective"`
	SubscriptionTermType string `json:"subscriptionTermType"`
	TierName             string `json:"tierName"`
	MessageLimit         int64  `json:"messageLimit"` // 0: none
	MessagesUsed         int64  `json:"messagesUsed"`
	CircuitBreaker       *int64 `json:"circuitBreaker"`
}

func (g *gateway) metadata(ctx context.Context, account latchkey.Account) (metadata, error) {
	owner, err := account.Record(ctx)
	if err != nil {
		return metadata{}, err
	}
	use, err := g.creditUse(ctx, account)
	now := g.opts.Clock().UTC()
	limit, _ := owner.Limits.Quota(MeterCore, latchkey.Month)
	return metadata{
		EffectiveDate:        time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC).UnixMilli(),
		SubscriptionTermType: "monthly",
		TierName:             g.opts.Tier,
		MessageLimit:         wholeCredits(limit.Amount),
		MessagesUsed:         use.MonthlyUsage,
	}, err
}

// creditUse is the flat form of account/usage: core credits of this calendar month, in UTC.
type creditUse struct {
	MonthlyUsage      int64            `json:"monthlyUsage"`
	MonthlyPayAsYouGo int64            `json:"monthlyPayAsYouGo"`
	DailyUsage        map[string]int64 `json:"dailyUsage"` // "20230127"
	// TokenUsage has publishable tokens by their text, which is public, and others by their id.
	TokenUsage map[string]int64 `json:"tokenUsage"`
	KeyUsage   map[string]int64 `json:"keyUsage"` // by endpoint
}

// usage is both forms in one: some clients read one, some the other.
type usage struct {
	creditUse
	Messages creditUse  `json:"messages"`
	Credits  creditUse  `json:"credits"`
	Rules    []struct{} `json:"rules"`
}

func (g *gateway) usage(ctx context.Context, account latchkey.Account) (usage, error) {
	use, err := g.creditUse(ctx, account)
	return usage{use, use, use, []struct{}{}}, err
}

func (g *gateway) creditUse(ctx context.Context, account latchkey.Account) (creditUse, error) {
	now := g.opts.Clock().UTC()
	first := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	rows, err := account.Usage(ctx, latchkey.UsageQuery{
		Meters: []string{MeterCore},
		From:   first.Format(time.DateOnly),
		To:     first.AddDate(0, 1, -1).Format(time.DateOnly),
		By:     []string{"token", "endpoint", "day"},
	})
	if err != nil {
		return creditUse{}, err
	}
	public := map[string]string{}
	for t, err := range account.Tokens(ctx, latchkey.TokenQuery{Kinds: []latchkey.Kind{latchkey.KindPublishable}}) {
		if damaged := (*latchkey.DamagedError)(nil); errors.As(err, &damaged) {
			continue // its text cannot be read
		} else if err != nil {
			return creditUse{}, err
		}
		public[t.ID] = t.Public
	}
	// Sum first, then round up: the sum of rounded amounts would exceed what was used.
	var total latchkey.Credits
	days, tokens, keys := map[string]latchkey.Credits{}, map[string]latchkey.Credits{}, map[string]latchkey.Credits{}
	for _, row := range rows {
		total += row.Credits
		days[strings.ReplaceAll(row.Day, "-", "")] += row.Credits
		token := row.TokenID
		if text := public[token]; text != "" {
			token = text
		}
		tokens[token] += row.Credits
		keys[row.Endpoint] += row.Credits
	}
	return creditUse{
		MonthlyUsage: wholeCredits(total),
		DailyUsage:   wholeCreditsOf(days),
		TokenUsage:   wholeCreditsOf(tokens),
		KeyUsage:     wholeCreditsOf(keys),
	}, nil
}

// wholeCreditsOf rounds each amount up to whole credits.
func wholeCreditsOf(m map[string]latchkey.Credits) map[string]int64 {
	out := make(map[string]int64, len(m))
	for k, c := range m {
		out[k] = wholeCredits(c)
	}
	return out
}

type signedToken struct {
	SignedToken string `json:"signedToken"`
	Secret      string `json:"secret"`
}

// signingSecret serves account/signed: the secret that a publishable token's requests are signed with. It is made at
// the first call. Whether the token requires signatures is set by Restrictions.Signed, not here.
func signingSecret(ctx context.Context, account latchkey.Account, body []byte) (signedToken, error) {
	var request struct {
		Token       string `json:"token"` // read by admit
		TokenToSign string `json:"tokenToSign"`
	}
	if strictjson.Unmarshal(body, &request) != nil || request.TokenToSign == "" {
		return signedToken{}, httpadapter.ErrBadRequest
	}
	id, err := findPublic(ctx, account, request.TokenToSign)
	if err != nil {
		return signedToken{}, err
	}
	secret, err := account.SigningSecret(ctx, id)
	if err != nil {
		return signedToken{}, err
	}
	return signedToken{request.TokenToSign, secret.Reveal()}, nil
}

// findPublic returns the id of a publishable token by its text. A token of another owner is not found.
func findPublic(ctx context.Context, account latchkey.Account, text string) (id string, err error) {
	if len(text) < 20 || len(text) > 512 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", httpadapter.ErrBadRequest
	}
	q := latchkey.TokenQuery{
		Kinds:  []latchkey.Kind{latchkey.KindPublishable},
		Search: text[:5] + "…" + text[len(text)-3:], // Token.Hint: few tokens match
	}
	for t, err := range account.Tokens(ctx, q) {
		if damaged := (*latchkey.DamagedError)(nil); errors.As(err, &damaged) {
			continue // its text cannot be read
		} else if err != nil {
			return "", err
		}
		if t.Public == text {
			return t.ID, nil
		}
	}
	return "", httpadapter.ErrBadRequest
}
