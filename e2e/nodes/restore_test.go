package nodes

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
	"github.com/latchkey-go/latchkey/e2e/internal/world"
)

// restored is what the documentation of sqlstore tells an operator to run before nodes meet a restored database.
const restored = "UPDATE latchkey_epoch SET floor = epoch + 1000000000, epoch = epoch + 1000000000"

func TestRestoredIsDocumented(t *testing.T) {
	text, err := os.ReadFile(harness.Path(t, "..", "sqlstore", "doc.go"))
	require.NoError(t, err)
	require.True(t, strings.Contains(string(text), "//\t"+restored+"\n"))
}

// A backup is restored under running nodes, and by the time one of them looks, its epoch has passed the one the node
// knew: the numbers alone look like history going on. After the documented statement every node forgets what it knew.
func TestRestoreUnderRunningNodes(t *testing.T) {
	const tail = 5 // changes that the backup does not have
	ctx := t.Context()
	for _, e := range harness.NodeEngines {
		for _, told := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, told %t", e.Name, told), func(t *testing.T) {
				dsn := e.Place(t)
				db := e.Open(t, dsn)
				exec := func(format string, args ...any) {
					t.Helper()
					_, err := db.Exec(fmt.Sprintf(format, args...))
					require.NoError(t, err)
				}
				admin := harness.NewNode(t, e, dsn, 0)
				here, others := admin.For("acme"), admin.For("globex")
				there := harness.NewNode(t, e, dsn, never)
				change := func() {
					t.Helper()
					require.NoError(t, others.Configure(ctx, func(o *latchkey.Owner) error { return nil }))
				}
				change()
				token, text, err := here.Issue(ctx, latchkey.Spec{Kind: latchkey.KindSecret})
				require.NoError(t, err)
				for _, table := range world.AllTables {
					exec("CREATE TABLE backup_%s AS SELECT * FROM %s", table, table)
				}
				for range tail {
					change()
				}
				// Now it knows the token, as of an epoch that the backup has not reached.
				last, lastText := known(t, here, there)
				secret := text.Reveal()
				_, err = there.Verify(ctx, latchkey.Presented{Secret: secret})
				require.NoError(t, err)
				require.NoError(t, here.Revoke(ctx, last, ""))
				wakeUntil(t, there, func() bool { return verifyIs(t, there, lastText, latchkey.ErrRevoked) })

				for _, table := range world.AllTables {
					exec("DELETE FROM %s", table)
					exec("INSERT INTO %s SELECT * FROM backup_%s", table, table)
				}
				if told {
					exec(restored)
				}
				require.NoError(t, here.Revoke(ctx, token.ID, "once more, after the restore"))
				for range 2 * tail {
					change()
				}
				_, after := known(t, here, harness.NewNode(t, e, dsn, 0)) // a change that comes through
				_, err = there.Verify(ctx, latchkey.Presented{Secret: after})
				require.NoError(t, err)
				id := harness.TokenID(t, here, after)
				require.NoError(t, here.Revoke(ctx, id, ""))
				wakeUntil(t, there, func() bool { return verifyIs(t, there, after, latchkey.ErrRevoked) })
				if told {
					require.True(t, verifyIs(t, there, secret, latchkey.ErrRevoked))
				} else { // why the statement is needed
					require.True(t, verifyIs(t, there, secret, nil))
				}
			})
		}
	}
}

func verifyIs(t *testing.T, keys *latchkey.Manager, secret string, want error) bool {
	t.Helper()
	_, err := keys.Verify(t.Context(), latchkey.Presented{Secret: secret})
	require.True(t, err == nil || errors.Is(err, latchkey.ErrInvalidToken), err)
	return errors.Is(err, want)
}

func wakeUntil(t *testing.T, keys *latchkey.Manager, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline))
		keys.Wake()
	}
}
