package latchkeyotel

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/latchkey-go/latchkey"
)

// Watch exports the levels of the Manager that has this Telemetry's Observer: its [latchkey.Manager.Stats], read at
// each collection. It fails if a Manager is watched already, after Close, and if the provider refuses an instrument.
func (t *Telemetry) Watch(keys *latchkey.Manager) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if keys == nil {
		return errors.New("latchkeyotel: Watch of a nil Manager; call it after latchkey.New")
	}
	if t.closed {
		return errors.New("latchkeyotel: Watch after Close")
	}
	if t.watched {
		return errors.New("latchkeyotel: a Telemetry watches one Manager; make another, with another Options.Manager")
	}
	w, err := t.levels()
	if err != nil {
		return fmt.Errorf("latchkeyotel: %w", err)
	}
	reg, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		w.observe(o, keys.Stats())
		return nil
	}, w.all...)
	if err != nil {
		return fmt.Errorf("latchkeyotel: %w", err)
	}
	t.regs, t.watched = append(t.regs, reg), true
	return nil
}

// levels are the instruments of Watch.
type levels struct {
	all    []metric.Observable
	common []attribute.KeyValue
	plain  metric.ObserveOption // the common attributes

	records, capacity          metric.Int64ObservableUpDownCounter
	misses, loads, evicted     metric.Int64ObservableCounter
	age, bound, failing, ratio metric.Float64ObservableGauge
	epoch                      metric.Int64ObservableGauge
	open                       metric.Int64ObservableUpDownCounter
	waiting, room              metric.Int64ObservableUpDownCounter
	limited, limits            metric.Int64ObservableUpDownCounter
	failures                   metric.Int64ObservableCounter
}

// levels makes the instruments of Watch.
func (t *Telemetry) levels() (*levels, error) {
	var errs []error
	w := &levels{common: t.common, plain: metric.WithAttributeSet(attribute.NewSet(t.common...))}
	counter := func(name, unit, text string) metric.Int64ObservableCounter {
		i, err := t.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
		errs, w.all = append(errs, err), append(w.all, i)
		return i
	}
	level := func(name, unit, text string) metric.Int64ObservableUpDownCounter {
		i, err := t.meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
		errs, w.all = append(errs, err), append(w.all, i)
		return i
	}
	gauge := func(name, unit, text string) metric.Float64ObservableGauge {
		i, err := t.meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(text))
		errs, w.all = append(errs, err), append(w.all, i)
		return i
	}
	w.records = level("latchkey.cache.records", "{record}", "Tokens that the cache holds, with invalidated ones.")
	w.capacity = level("latchkey.cache.capacity", "{record}", "How many tokens the cache may hold.")
	w.misses = counter("latchkey.cache.misses", "{verification}", "Verifications that read the store for their token.")
	w.loads = counter("latchkey.cache.loads", "{record}", "Tokens that were put into the cache.")
	w.evicted = counter("latchkey.cache.evictions", "{record}", "Valid tokens that a full cache dropped.")
	w.age = gauge("latchkey.feed.age", "s", "How long ago the feed was last read with success.")
	w.bound = gauge("latchkey.feed.max_stale", "s", "The bound of revocation, Options.MaxStale.")
	w.ratio = gauge("latchkey.feed.staleness", "1",
		"The age by MaxStale. Above 1, answers from the cache need another read of the store first.")
	w.failing = gauge("latchkey.feed.failing", "s",
		"For how long every read of the feed has failed. 0: the latest succeeded.")
	epoch, err := t.meter.Int64ObservableGauge("latchkey.feed.epoch", metric.WithUnit("{epoch}"),
		metric.WithDescription("The epoch of the feed, up to which the cache reflects the changes."))
	errs, w.all, w.epoch = append(errs, err), append(w.all, epoch), epoch
	w.open = level("latchkey.lease.open", "{lease}", "Leases of credits that are held.")
	w.waiting = level("latchkey.queue.waiting", "{row}", "Rows that wait to be written behind.")
	w.room = level("latchkey.queue.capacity", "{row}", "How many rows may wait before further ones are dropped.")
	w.limited = level("latchkey.limiter.keys", "{key}", "Tokens and owners whose rate is remembered.")
	w.limits = level("latchkey.limiter.capacity", "{key}", "How many rates can be remembered.")
	w.failures = counter("latchkey.background.failures", "{failure}",
		"Failures that no caller is told, by the part that failed.")
	return w, errors.Join(errs...)
}

// with returns the option of the common attributes and one more.
func (w *levels) with(a attribute.KeyValue) metric.ObserveOption {
	return metric.WithAttributeSet(attribute.NewSet(append([]attribute.KeyValue{a}, w.common...)...))
}

// observe reports the levels.
func (w *levels) observe(o metric.Observer, s latchkey.Stats) {
	o.ObserveInt64(w.records, int64(s.Cache.Records), w.plain)
	o.ObserveInt64(w.capacity, int64(s.Cache.Capacity), w.plain)
	o.ObserveInt64(w.misses, s.Cache.Misses, w.plain)
	o.ObserveInt64(w.loads, s.Cache.Loads, w.plain)
	o.ObserveInt64(w.evicted, s.Cache.Evicted, w.plain)
	o.ObserveFloat64(w.bound, s.MaxStale.Seconds(), w.plain)
	for _, f := range s.Feeds {
		of := w.with(attribute.Int64(feedKey, int64(f.Feed)))
		o.ObserveInt64(w.epoch, int64(f.Epoch), of) //nolint:gosec // an epoch counts changes
		o.ObserveFloat64(w.failing, f.Failing.Seconds(), of)
		if f.Age < 0 { // not known
			continue
		}
		o.ObserveFloat64(w.age, f.Age.Seconds(), of)
		if s.MaxStale > 0 {
			o.ObserveFloat64(w.ratio, f.Age.Seconds()/s.MaxStale.Seconds(), of)
		}
	}
	o.ObserveInt64(w.open, int64(s.Leases.Open), w.plain)
	for _, q := range []struct {
		name  string
		stats latchkey.QueueStats
	}{{"usage", s.Usage}, {"last_use", s.LastUse}} {
		of := w.with(attribute.String(queueKey, q.name))
		o.ObserveInt64(w.waiting, int64(q.stats.Waiting), of)
		o.ObserveInt64(w.room, int64(q.stats.Capacity), of)
	}
	o.ObserveInt64(w.limited, int64(s.Rates.Keys), w.plain)
	o.ObserveInt64(w.limits, int64(s.Rates.Capacity), w.plain)
	for part, n := range s.Failures {
		o.ObserveInt64(w.failures, n, w.with(attribute.String(partKey, parts.values[parts.place(part)])))
	}
}
