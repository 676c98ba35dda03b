package console

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPagesOfTheHost(t *testing.T) {
	for to, good := range map[string]bool{
		"/sign-in":               true,
		"sign-in?again":          true,
		"https://host.test/":     true,
		"http://host.test":       true,
		"":                       false,
		"?again":                 false,
		"//elsewhere.test/":      false,
		"/\\elsewhere.test/":     false,
		"///elsewhere.test/":     false,
		"/%zz":                   false, // no URL at all
		"http://[::1":            false,
		"https:elsewhere":        false,
		"https://":               false,
		"javascript:alert(1)":    false,
		"data:text/html,x":       false,
		"/a\r\nSet-Cookie: a=b":  false,
		"/a\tb":                  false,
		"ftp://elsewhere.test/a": false,
	} {
		require.Equal(t, good, isHostPage(to), "%q", to)
	}
}
