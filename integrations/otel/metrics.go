package latchkeyotel

import (
	"context"
	"errors"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/latchkey-go/latchkey"
)

// The attributes.
const (
	outcomeKey   = "latchkey.outcome"
	sourceKey    = "latchkey.source"
	reasonKey    = "latchkey.reason"
	actionKey    = "latchkey.action"
	operationKey = "latchkey.store.operation"
	eventKey     = "latchkey.lease.event"
	partKey      = "latchkey.part"
	queueKey     = "latchkey.queue"
	feedKey      = "latchkey.feed"
	kindKey      = "latchkey.token.kind"
	ownerKey     = "latchkey.owner"
)

var (
	outcomes   = newList(verificationOutcomes)
	fromWhere  = newList(sources)
	reasons    = newList(refusalReasons)
	operations = newList(storeOperations)
	classes    = newList(storeClasses)
	mintings   = newList(mintOutcomes)
	actions    = newList(eventActions)
	leaseWhats = newList(leaseEvents)
	parts      = newList(failureParts)
)

// bounds are those of the buckets of store calls, in seconds. A read of a near database takes a fraction of a
// millisecond, and calls give up after some seconds.
var bounds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// instruments makes what the callbacks of the observer count in.
func (t *Telemetry) instruments() error {
	var errs []error
	counter := func(name, unit, text string, initial func(values ...string) bool, labels *labels) *family {
		instrument, err := t.meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
		errs = append(errs, err)
		return newFamily(instrument, labels, t.common, initial)
	}
	listed := func(values ...string) bool { return !slices.Contains(values, other) }
	t.verifications = counter("latchkey.verifications", "{verification}",
		"Texts and callers that were verified, by the outcome and by what decided it.",
		func(v ...string) bool {
			return v[0] == "ok" && v[1] != "none" && v[1] != other ||
				v[0] == "unknown" && v[1] == "store" || v[0] == "unavailable" && v[1] == "store"
		}, &labels{[]string{outcomeKey, sourceKey}, []*list{outcomes, fromWhere}})
	t.refusals = counter("latchkey.refusals", "{refusal}",
		"Refusals of tokens that exist, by the reason.", listed, &labels{[]string{reasonKey}, []*list{reasons}})
	t.mints = counter("latchkey.mints", "{mint}", "Tokens that were to be minted, by the outcome.",
		func(v ...string) bool { return v[0] == "ok" }, &labels{[]string{outcomeKey}, []*list{mintings}})
	t.changes = counter("latchkey.changes", "{change}", "Changes that were committed, by the action of the audit event.",
		listed, &labels{[]string{actionKey}, []*list{actions}})
	t.leasings = counter("latchkey.lease.events", "{event}", "What happened to leases of credits.",
		listed, &labels{[]string{eventKey}, []*list{leaseWhats}})
	t.lost = counter("latchkey.background.lost", "{record}",
		"Counts, last uses and audit events that are lost for good, by the part that lost them.",
		func(v ...string) bool { return slices.Contains([]string{"usage", "last_use", "deliver"}, v[0]) },
		&labels{[]string{partKey}, []*list{parts}})

	var err error
	t.calls, err = t.meter.Float64Histogram("latchkey.store.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("How long calls of the store took."), metric.WithExplicitBucketBoundaries(bounds...))
	errs = append(errs, err)
	t.callAttributes = make([][][]metric.RecordOption, len(operations.values))
	for i, operation := range operations.values {
		t.callAttributes[i] = make([][]metric.RecordOption, len(classes.values))
		for j, class := range classes.values {
			t.callAttributes[i][j] = []metric.RecordOption{
				metric.WithAttributeSet(attribute.NewSet(append(callAttributes(operation, class), t.common...)...))}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	counters := []*family{t.verifications, t.refusals, t.mints, t.changes, t.leasings, t.lost}
	var observables []metric.Observable
	for _, f := range counters {
		observables = append(observables, f.instrument)
	}
	reg, err := t.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, f := range counters {
			f.observe(o)
		}
		return nil
	}, observables...)
	if err != nil {
		return err
	}
	t.regs = append(t.regs, reg)
	return nil
}

// callAttributes are those of a call of the store, for metrics and spans. A failure also has error.type.
func callAttributes(operation, class string) []attribute.KeyValue {
	all := []attribute.KeyValue{attribute.String(operationKey, operation), attribute.String(outcomeKey, class)}
	if isFailure(class) {
		all = append(all, attribute.String(string(semconv.ErrorTypeKey), class))
	}
	return all
}

// isFailure reports whether a class of a call, or an outcome, is a failure of the store. What is not known is one.
func isFailure(class string) bool { return class == other || slices.Contains(storeFailures, class) }

func (t *Telemetry) verified(ctx context.Context, v latchkey.Verification) {
	cell := outcomes.place(v.Outcome)*len(fromWhere.values) + fromWhere.place(string(v.Source))
	t.grid(t.verifications, v.Owner).add(cell, 1)
	if v.Source == latchkey.SourceStore {
		t.verifySpan(ctx, &v)
	}
}

func (t *Telemetry) refused(_ context.Context, r latchkey.Refusal) {
	t.grid(t.refusals, r.Owner).add(reasons.place(r.Reason), 1)
}

func (t *Telemetry) called(ctx context.Context, c latchkey.StoreCall) {
	operation, class := operations.place(c.Op), classes.place(c.Class)
	t.calls.Record(ctx, c.Duration.Seconds(), t.callAttributes[operation][class]...)
	t.callSpan(ctx, &c, operations.values[operation], classes.values[class])
}

func (t *Telemetry) minted(ctx context.Context, m latchkey.Minting) {
	t.grid(t.mints, m.Owner).add(mintings.place(m.Outcome), 1)
	t.mintSpan(ctx, &m)
}

func (t *Telemetry) changed(_ context.Context, e latchkey.Event) {
	t.changes.all.add(actions.place(e.Action), 1)
}

func (t *Telemetry) leased(_ context.Context, l latchkey.Leasing) {
	t.leasings.all.add(leaseWhats.place(l.What), 1)
}

func (t *Telemetry) failed(_ context.Context, f latchkey.Failure) {
	if f.Lost > 0 {
		t.lost.all.add(parts.place(f.Part), f.Lost)
	}
}

// grid returns where what belongs to an owner is counted.
func (t *Telemetry) grid(f *family, owner string) *grid {
	if t.opts.Owner == nil || owner == "" {
		return f.all
	}
	return f.of(t.opts.Owner(owner), t.opts.Owners)
}
