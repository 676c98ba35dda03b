package latchkey

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// A caller that was about to read, and was given up before it began, does not take over when it comes back. The one
// that reads instead is still given up when it gets no answer, and those who wait for it try again.
func TestAReaderThatComesBackLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, g := &sharedRead[int]{}, &gathering{}
		stop := make(chan struct{})
		asked := 0
		read := func(context.Context) (int, error) {
			if asked++; asked == 1 { // the first question is not answered
				<-stop
			}
			return asked, nil
		}
		answers := make(chan error, 3)
		ask := func() {
			go func() {
				_, err := s.do(t.Context(), g, read)
				answers <- err
			}()
			synctest.Wait()
		}
		late := &leadership[int]{}
		s.leader = late // as do leaves it, before lead
		ask()
		ask()
		time.Sleep(minPatience)
		synctest.Wait()
		require.Equal(t, 1, asked, "one of them reads, the other waits for it")
		ask() // who will share the next read
		_, err := s.lead(t.Context(), late, g, func(context.Context) (int, error) { return 0, nil })
		require.NoError(t, err)
		time.Sleep(2 * maxPatience)
		synctest.Wait()
		require.Len(t, answers, 2, "only the one whose question is lost waits")
		close(stop)
		synctest.Wait()
		require.Len(t, answers, 3)
		for range 3 {
			require.NoError(t, <-answers)
		}
	})
}
