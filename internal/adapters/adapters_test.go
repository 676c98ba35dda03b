package adapters

import (
	"errors"
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

type account string

func (a account) Owner() string { return string(a) }

func TestAccount(t *testing.T) {
	require.PanicsWithValue(t, "pkg: no account: pass manager.For(owner), or set Options.Account",
		func() { Account("pkg", account(""), nil) })
	of := Account("pkg", account("acme"), nil)
	a, err := of(nil)
	require.NoError(t, err)
	require.Equal(t, account("acme"), a)

	failed := errors.New("no tenant")
	picked, pickErr := account("other"), error(nil)
	of = Account("pkg", account(""), func(*http.Request) (account, error) { return picked, pickErr })
	a, err = of(nil)
	require.NoError(t, err)
	require.Equal(t, account("other"), a)
	picked = ""
	_, err = of(nil)
	require.EqualError(t, err, "pkg: Options.Account returned the zero Account")
	pickErr = failed
	_, err = of(nil)
	require.ErrorIs(t, err, failed)
}

func TestCheckProxies(t *testing.T) {
	CheckProxies("pkg", nil)
	CheckProxies("pkg", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	require.PanicsWithValue(t, "pkg: Options.Proxies[1] is the zero Prefix: set it with netip.ParsePrefix",
		func() { CheckProxies("pkg", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), {}}) })
}

func TestSentence(t *testing.T) {
	for in, want := range map[string]string{"": "", "“x” is": "“x” is.", "not a number": "Not a number.", "Done.": "Done.",
		"“it” is so": "“it” is so."} {
		require.Equal(t, want, Sentence(in))
	}
}
