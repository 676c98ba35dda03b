package api

import (
	"errors"
	"net/http"
	"time"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/httpadapter"
)

// ImportedToken is what a token is made from whose text another system made. Exactly one of text and kept is given.
type ImportedToken struct {
	NewToken
	// The text, 16 to 512 bytes long. The host recognises its form, or it is one of latchkey's.
	Text string `json:"text,omitempty"`
	// What the other system kept of the text, if nobody has the text itself.
	Kept *KeptSecret `json:"kept,omitempty"`
}

// KeptSecret is what another system kept of a secret.
type KeptSecret struct {
	// SHA-256 of the whole text, in hex or base64. The text must be as hard to guess as a key.
	SHA256 string `json:"sha256,omitempty"`
	// HMAC-SHA-256 of the whole text, in hex or base64.
	HMAC string `json:"hmac,omitempty"`
	// With hmac: the name of its key, which the host has.
	Pepper string `json:"pepper,omitempty"`
	// A slow hash of the secret part of the text: bcrypt or argon2id.
	Hash string `json:"hash,omitempty"`
	// With hash: the part of the text by which it is found.
	Lookup string `json:"lookup,omitempty"`
	// What people may see of the text, at most 64 bytes.
	Hint string `json:"hint,omitempty"`
}

func (c *call) importToken(in *ImportedToken) (Made, error) {
	if (in.Text == "") == (in.Kept == nil) {
		return Made{}, badMember("", "give text or kept: one of them", nil)
	}
	var t latchkey.Token
	var err error
	if in.Kept != nil {
		t, err = c.carryOut().ImportDigest(c.ctx(), in.spec(), latchkey.KeptSecret(*in.Kept))
	} else {
		t, err = c.carryOut().Import(c.ctx(), in.spec(), in.Text)
	}
	if err != nil {
		return Made{}, err
	}
	return c.made(t, ""), nil
}

// Presented is the text of a secret.
type Presented struct {
	// The text.
	Secret string `json:"secret"`
}

func (c *call) findToken(in *Presented) (Token, error) {
	t, err := c.account.Find(c.ctx(), in.Secret)
	if err != nil {
		return Token{}, err
	}
	return c.token(t)
}

// Rotation says how a token gets a new secret.
type Rotation struct {
	// How much longer the old secrets work. Absent: they end at once.
	Overlap time.Duration `json:"overlap,omitempty"`
	// The id of the secret that the caller takes for the newest. If another one is, nothing is changed.
	IfNewest string `json:"if_newest,omitempty"`
	// For the audit trail; at most 256 bytes.
	Reason string `json:"reason,omitempty"`
}

func (c *call) rotateToken(in *Rotation) (Secret, error) {
	secret, err := c.carryOut().RotateWith(c.ctx(), c.id(), latchkey.Rotation(*in))
	return Secret{secret.Reveal()}, c.hidden(err)
}

func (c *call) revealToken(*none) (Secret, error) {
	secret, err := c.account.Reveal(c.ctx(), c.id())
	return Secret{secret.Reveal()}, c.hidden(err)
}

func (c *call) signingSecret(*none) (Secret, error) {
	secret, err := c.account.SigningSecret(c.ctx(), c.id())
	return Secret{secret.Reveal()}, c.hidden(err)
}

func (c *call) listSecrets(*none) (List[latchkey.LiveSecret], error) {
	secrets, err := c.account.Secrets(c.ctx(), c.id())
	if _, damaged := errors.AsType[*latchkey.DamagedError](err); damaged && len(secrets) != 0 {
		err = nil // what is left of it tells what can be ended
	}
	return List[latchkey.LiveSecret]{Items: append([]latchkey.LiveSecret{}, secrets...)}, err
}

func (c *call) endSecret(*none) (none, error) {
	err := c.account.EndSecret(c.ctx(), c.id(), c.path["secret"], "")
	if errors.Is(err, latchkey.ErrInvalid) && !errors.Is(err, latchkey.ErrDenied) {
		p := problem(http.StatusConflict, "last-secret", "Conflict",
			"It is the newest secret of the token, or the token is revoked. Rotate the token, or revoke it.")
		err = httpadapter.Refusal(p, err)
	}
	return none{}, c.hidden(err)
}

func secretOperations() []*operation {
	return []*operation{
		handle(operation{id: "importToken", method: http.MethodPost, path: "/tokens/import", tag: "token",
			summary: "Import a token", text: "It makes a token of a text that another system made.",
			status: http.StatusCreated, once: true, versioned: true}, (*call).importToken),
		handle(operation{id: "findToken", method: http.MethodPost, path: "/tokens/find", tag: "token",
			summary: "Find the token of a secret", text: "It is no use of the token. The text is in the body, where no log " +
				"keeps it.",
			versioned: true, refuses: []int{404}}, (*call).findToken),
		handle(operation{id: "rotateToken", method: http.MethodPost, path: "/tokens/{id}/rotate", tag: "token",
			summary: "Give a token a new secret", text: "The secret is in the reply, and nowhere else.",
			optional: true, secret: true, once: true, ifMatch: true}, (*call).rotateToken),
		handle(operation{id: "revealToken", method: http.MethodPost, path: "/tokens/{id}/reveal", tag: "token",
			summary: "Show a token's secret", text: "The newest, if the host keeps texts. The audit trail tells of it.",
			secret: true, refuses: []int{409}}, (*call).revealToken),
		handle(operation{id: "signingSecret", method: http.MethodPost, path: "/tokens/{id}/signing-secret", tag: "token",
			summary: "Show the key that a token's requests are signed with",
			text:    "It is made with the first such request, and the first after a rotation. The audit trail tells of it.",
			secret:  true, refuses: []int{409}}, (*call).signingSecret),
		handle(operation{id: "listSecrets", method: http.MethodGet, path: "/tokens/{id}/secrets", tag: "token",
			summary: "List a token's secrets", text: "Those that have not ended, oldest first, with their last uses. No texts."},
			(*call).listSecrets),
		handle(operation{id: "endSecret", method: http.MethodDelete, path: "/tokens/{id}/secrets/{secret}", tag: "token",
			summary: "End one secret of a token", text: "Not the newest: rotate or revoke the token for that.",
			ifMatch: true}, (*call).endSecret),
	}
}
