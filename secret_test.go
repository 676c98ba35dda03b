package latchkey

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey/internal/tokentext"
)

// everyPrint shows v in every way a program may come to print it by accident.
func everyPrint(v any) map[string]string {
	out := map[string]string{}
	for _, verb := range []string{
		"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%e", "%c", "%U", "%20s", "%-20.3s", "% x",
	} {
		out["fmt "+verb] = fmt.Sprintf(verb, v)
	}
	out["Sprint"] = fmt.Sprint(v)
	out["Errorf"] = fmt.Errorf("outer: %w", fmt.Errorf("inner %v", v)).Error()
	var b bytes.Buffer
	for name, h := range map[string]slog.Handler{
		"slog text": slog.NewTextHandler(&b, nil), "slog json": slog.NewJSONHandler(&b, nil),
	} {
		b.Reset()
		slog.New(h).LogAttrs(context.Background(), slog.LevelError, "m", slog.Any("v", v), slog.Any("p", &v),
			slog.Group("g", slog.Any("v", v)))
		out[name] = b.String()
	}
	j, err := json.Marshal(v)
	out["json"] = string(j) + fmt.Sprint(err)
	x, err := xml.Marshal(v)
	out["xml"] = string(x) + fmt.Sprint(err)
	b.Reset()
	err = gob.NewEncoder(&b).Encode(v)
	out["gob"] = b.String() + fmt.Sprint(err)
	out["panic"] = func() (s string) {
		defer func() { s = fmt.Sprint(recover()) + string(debug.Stack()) }()
		panic(v)
	}()
	fake := &recordingT{}
	assert.Equal(fake, v, struct{ X int }{1})
	assert.Equal(fake, []any{v}, []any{v, 1})
	assert.Nil(fake, v)
	assert.Failf(fake, "", "%v %+v", v, &v)
	out["testify"] = fake.String()
	return out
}

type recordingT struct{ bytes.Buffer }

func (r *recordingT) Errorf(format string, args ...any) { fmt.Fprintf(r, format, args...) }

func TestSecretShowsNothing(t *testing.T) {
	const text = "CANARYtextCANARY"
	s := newSecret(text)
	type embedded struct {
		Secret
		N int
	}
	type exported struct{ S Secret }
	type hidden struct{ s Secret }
	for name, v := range map[string]any{
		"value": s, "pointer": &s, "embedded": embedded{s, 1}, "field": exported{s}, "pointed field": &exported{s},
		"hidden field": hidden{s}, "slice": []Secret{s}, "map": map[string]Secret{"k": s}, "any": []any{s, &s},
	} {
		for how, got := range everyPrint(v) {
			assert.NotContains(t, got, "CANARY", "%s by %s", name, how)
			assert.NotContains(t, got, fmt.Sprintf("%x", text[:8]), "%s by %s", name, how)
		}
	}
	for how, got := range everyPrint(s) {
		if strings.HasPrefix(how, "fmt") {
			assert.Equal(t, "[redacted]", got, how)
		}
	}
	j, err := json.Marshal(exported{s})
	require.NoError(t, err)
	assert.Equal(t, `{"S":"[redacted]"}`, string(j))
	assert.Equal(t, text, s.Reveal())

	// The net has holes of the right size: a plain string is caught in it.
	for how, got := range everyPrint(struct{ S string }{text}) {
		if how != "fmt %d" && !strings.Contains(got, "CANARY") && strings.HasPrefix(how, "slog") {
			t.Errorf("%s would not have shown a leak", how)
		}
	}
}

func TestZeroSecret(t *testing.T) {
	assert.Empty(t, Secret{}.Reveal())
	for _, got := range everyPrint(Secret{}) {
		assert.NotContains(t, got, "PANIC")
	}
}

func TestKindOfText(t *testing.T) {
	m := &Manager{store: &slowStore{}}
	for _, k := range []struct {
		kind   Kind
		test   bool
		prefix string
	}{
		{KindSecret, false, "sk_"}, {KindSecret, true, "Tsk_"},
		{KindPublishable, false, "pk_"}, {KindPublishable, true, "Tpk_"},
		{KindAPIKey, false, "ak_"}, {KindAPIKey, true, "ak_"},
		{KindAccess, false, "at_"}, {KindAccess, true, "at_"},
		{KindSession, false, "ss_"},
	} {
		text, err := m.newText(k.kind, k.test, "acme")
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(text, k.prefix), text)
		kind, ok := kindOfText(text)
		assert.True(t, ok, text)
		assert.Equal(t, k.kind, kind)
		_, ok = kindOfText(text[:len(text)-1] + "-")
		assert.False(t, ok)
	}
	for _, kind := range []Kind{0, KindSession + 1, 255} {
		_, err := m.newText(kind, false, "acme")
		assert.ErrorIs(t, err, ErrInvalid)
	}
}

// Every text that latchkey makes is found, in whatever it stands, and passes the check. Altered ones do not pass.
func TestSecretPatternFindsEveryText(t *testing.T) {
	for _, mark := range []string{"", "a", "acme", "acme2026"} {
		any, own := regexp.MustCompile(SecretPattern("")), regexp.MustCompile(SecretPattern(mark))
		for _, prefix := range []string{"sk_", "Tsk_", "pk_", "Tpk_", "ak_", "at_", "ss_"} {
			for i := range 50 {
				text, err := tokentext.New(nil, prefix, mark, 0)
				require.NoError(t, err)
				require.True(t, CheckText(text), text)
				for _, in := range []string{"%s", " %s\n", `{"key":"%s"}`, "KEY=%s;", "https://x.example/?key=%s&b", "Bearer %s",
					"'%s'", "a/%s/b", "%s.", "x: %s, y", "é%sé", "\x00%s\xff", "-%s-"} {
					whole := fmt.Sprintf(in, text)
					for _, pattern := range []*regexp.Regexp{any, own} {
						found := pattern.FindAllStringSubmatch(whole, -1)
						require.Equal(t, [][]string{{text, strings.TrimSuffix(prefix, "_")}}, found, "%q", whole)
					}
				}
				for _, whole := range []string{text + "a", "a" + text, "_" + text, text + "_", text[1:], text[:len(text)-1]} {
					if match := any.FindString(whole); match != "" {
						require.False(t, CheckText(match), "%q in %q", match, whole)
					}
					require.False(t, CheckText(whole), whole)
				}
				for at := range text[:len(text)*max(0, 1-i)] { // each place of the first
					for _, c := range []byte("aZ0_-é") {
						if altered := text[:at] + string(rune(c)) + text[at+1:]; altered != text {
							require.False(t, CheckText(altered), altered)
						}
					}
				}
				if mark != "" {
					require.Empty(t, regexp.MustCompile(SecretPattern("other")).FindString(text))
				}
			}
		}
	}
	require.PanicsWithValue(t, "latchkey: SecretPattern: a prefix is 1 to 8 characters of a-z and 0-9, or empty",
		func() { SecretPattern("ACME") })
	require.False(t, CheckText(""))
}
