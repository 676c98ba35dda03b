package engines

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey-go/latchkey"
	"github.com/latchkey-go/latchkey/e2e/internal/harness"
)

// Pages of the feed, one after the other, have each change once and in order, whatever their size: also where a
// transaction has many, where numbers are missing, and where PostgreSQL answers with several texts.
func TestEnginesPagesOfTheFeed(t *testing.T) {
	harness.OnEngines(t, func(t *testing.T, e *harness.Engine) {
		db := e.Open(t, e.Place(t))
		s := harness.OpenStore(t, db, e.Dialect)
		var want []latchkey.Change
		end := uint64(0)
		add := func(epoch uint64, rows int) {
			for seq := range rows {
				c := latchkey.Change{Epoch: epoch, Owner: "acme", Kind: latchkey.ChangedToken, ID: fmt.Sprint(epoch, " ", seq)}
				want, end = append(want, c), epoch
			}
		}
		for epoch := range uint64(1200) {
			rows := 1
			if epoch%97 == 0 {
				rows = 5
			}
			add(1+epoch, rows)
		}
		add(end+1, 700)
		add(end+50_000, 1) // the numbers before it are missing
		add(end+255, 1)
		add(end+257, 2)
		tx, err := db.Begin()
		require.NoError(t, err)
		for seq, c := range want {
			_, err := tx.Exec(fmt.Sprintf(`INSERT INTO latchkey_changes (epoch, seq, owner, kind, id, at)
				VALUES (%d, %d, 'acme', %d, '%s', 0)`, c.Epoch, seq, c.Kind, c.ID))
			require.NoError(t, err)
		}
		_, err = tx.Exec(fmt.Sprintf(`UPDATE latchkey_epoch SET epoch = %d`, end))
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		for _, n := range []int{1, 7, 255, 256, 257, 1000, 4000, 10_000} {
			var got []latchkey.Change
			for at := uint64(0); at < end; {
				feed, err := s.Changes(context.Background(), 0, at, n)
				require.NoError(t, err)
				require.Equal(t, end, feed.Epoch)
				require.NotEmpty(t, feed.Changes, "after %d there is more", at)
				last := feed.Changes[len(feed.Changes)-1].Epoch
				if feed.Changes[0].Epoch != last {
					require.LessOrEqual(t, len(feed.Changes), n)
				}
				got, at = append(got, feed.Changes...), last
			}
			require.Equal(t, want, got, "pages of %d", n)
		}
		feed, err := s.Changes(context.Background(), 0, end, 10)
		require.NoError(t, err)
		require.Empty(t, feed.Changes)
		require.False(t, feed.Truncated)
		for _, ahead := range []uint64{end + 1, 1<<63 - 1, 1<<64 - 1} {
			feed, err = s.Changes(context.Background(), 0, ahead, 10)
			require.NoError(t, err)
			require.Empty(t, feed.Changes)
			require.True(t, feed.Truncated, "of a database that was restored")
		}
	})
}
