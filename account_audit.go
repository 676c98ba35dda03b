package latchkey

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// AuditReport is what [Account.VerifyAudit] found.
type AuditReport struct {
	Owner   string `json:"owner"`
	First   uint64 `json:"first"`   // the number of the first event that there is; 0: none
	Last    uint64 `json:"last"`    // that of the last
	Events  int    `json:"events"`  // how many there are
	Chained int    `json:"chained"` // how many of them are as they were written, by a key that is known
	Erased  int    `json:"erased"`  // how many of these lost a record or a client to an erasure that the trail tells of

	// Faults are contradictions, in the order in which they were found: somebody altered the trail. At most 1000 are
	// kept. MoreFaults is how many there are beside.
	Faults     []AuditFault `json:"faults,omitempty"`
	MoreFaults int          `json:"more_faults,omitempty"`

	// Unchained are events outside the chain: of the time before there was one, or by a program of an earlier version.
	// Nothing is known of these. Whether they are all, and as they were written, only the host can know.
	Unchained []AuditRange `json:"unchained,omitempty"`
	// Between is how many of Unchained came after the first event of the chain. After an upgrade there are none.
	Between int `json:"between,omitempty"`
	// Unverifiable are events under keys that the Keyring lacks. Unkeyed are events by a program without a Keyring, where
	// this one has one: whoever writes the database could have made them. Both hold the place of the chain.
	Unverifiable []AuditRange `json:"unverifiable,omitempty"`
	Unkeyed      []AuditRange `json:"unkeyed,omitempty"`
	// Removed are events that are gone, as the chain says: Purge or Erase removed them. Others in the same range may be
	// there still.
	Removed []AuditRange `json:"removed,omitempty"`

	// Keys are the ids of the keys of the events, in the order in which they first come. 0: without a key.
	Keys []uint32 `json:"keys,omitempty"`
	// Head is an anchor of the last event that is as it was written, not signed. Zero: there is none.
	Head AuditAnchor `json:"head,omitzero"`
}

// Proven reports whether the trail from the first event of the chain on is as it was written: there is a chain, without
// a fault, and nothing behind its first event could not be verified. A trail without events is proven. Without a
// Keyring it means only that the hashes agree with each other. Whether its end was cut off, only an anchor tells.
func (r *AuditReport) Proven() bool {
	return len(r.Faults) == 0 && len(r.Unverifiable) == 0 && len(r.Unkeyed) == 0 && r.Between == 0 &&
		(r.Chained > 0 || r.Events == 0)
}

// AuditRange is a range of events by their numbers, both included.
type AuditRange struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// AuditFault is a contradiction in the trail.
type AuditFault struct {
	Kind AuditFaultKind `json:"kind"`
	AuditRange
	Text string `json:"text"` // in words
}

func (f AuditFault) String() string {
	if f.First == f.Last {
		return fmt.Sprintf("event %d: %s", f.First, f.Text)
	}
	return fmt.Sprintf("events %d to %d: %s", f.First, f.Last, f.Text)
}

// AuditFaultKind is a label.
type AuditFaultKind string

const (
	// FaultEdited is an event that was altered after it was written, or that another event took the place of.
	FaultEdited AuditFaultKind = "edited"
	// FaultMissing are events that were deleted from among others, and that no Purge or Erase of the chain removed.
	FaultMissing AuditFaultKind = "missing"
	// FaultCut are events at the end of the trail that are gone: an anchor or the count of events says that they were.
	FaultCut AuditFaultKind = "cut"
	// FaultErased is an event whose record or client is gone, and no later event of the chain tells of that erasure.
	FaultErased AuditFaultKind = "erased"
	// FaultOrder is an event that follows another one than the chain before it: events were moved or inserted, the trail
	// was put back to an earlier state and went on, or the chain begins anew.
	FaultOrder AuditFaultKind = "order"
)

const maxAuditFaults = 1000

// AuditCheck says what a trail is compared with. The zero value is nothing.
type AuditCheck struct {
	Anchors []AuditAnchor // of earlier times, in any order
	// Progress, if not nil, is called after each page of events, with the number of the last event that was looked at and
	// that of the last there is.
	Progress func(at, last uint64)
}

// VerifyAudit goes through the audit trail of the owner and finds events that were edited, deleted, moved, or cut off
// at the end. Under a Keyring, nobody can alter the trail unseen who lacks the Keyring, up to what the anchors cannot
// tell:
//
//   - Events behind the last anchor, cut off at the end together with the count of events, are not missed. So anchor
//     the trail where whoever can write the database cannot: see [Manager.Anchor], [Account.AuditCheckpoint] and
//     [Manager.Deliver].
//   - Unchained events and their absence prove nothing. A trail whose hashes are all removed looks as one from before
//     there was a chain; an anchor tells them apart.
//   - Without a Keyring whoever can write the database can write the whole chain anew. Only anchors show that.
//
// It reads the events page by page, so memory does not grow with the trail, and needs one more read for each object of
// which events were redacted. Events that are written meanwhile are verified too. The error says why the trail could
// not be verified, as far as Report then goes: ctx ended, the store could not be read, or an anchor is of another owner
// ([ErrInvalid]), altered ([ErrInvalid]), or signed by a key that the Keyring lacks ([ErrNeedsKeyring]). What is wrong
// with the trail is no error, but in the report.
//
// An actor needs read on "latchkey/event".
func (a Account) VerifyAudit(ctx context.Context, check AuditCheck) (AuditReport, error) {
	v := auditVerifier{a: a, ring: a.m.opts.Keyring, authorised: map[string]uint64{}}
	v.report.Owner = a.owner
	c, err := a.begin(ctx)
	if err == nil {
		err = c.check(Read, "event", "")
	}
	if err != nil {
		return v.report, err
	}
	v.anchors = slices.Clone(check.Anchors)
	for i := range v.anchors {
		if v.anchors[i].Owner != a.owner {
			return v.report, fmt.Errorf("%w: an anchor is of another owner", ErrInvalid)
		}
		if err := v.ring.checkAnchor(&v.anchors[i]); err != nil {
			return v.report, err
		}
	}
	slices.SortStableFunc(v.anchors, func(a, b AuditAnchor) int { return cmp.Compare(a.Seq, b.Seq) })
	last, err := a.lastEvent(ctx)
	if err != nil {
		return v.report, err
	}
	for q := (EventQuery{Page: Page{Limit: 500}}); ; {
		page, next, err := a.m.store.Events(ctx, a.owner, q)
		if err != nil {
			return v.report, err
		}
		for i := range page {
			if err := v.event(ctx, &page[i]); err != nil {
				return v.report, err
			}
		}
		if check.Progress != nil {
			check.Progress(v.report.Last, max(last, v.report.Last))
		}
		if q.After = next; next == "" {
			break
		}
	}
	v.end(last)
	return v.report, nil
}

// lastEvent returns the number of the last event that the owner had, as the store counts.
func (a Account) lastEvent(ctx context.Context) (uint64, error) {
	page, _, err := a.m.store.Undelivered(ctx, UndeliveredQuery{Feed: a.m.store.Locate(a.owner).Feed,
		Cursor: uncounted, Page: Page{After: justBefore(a.owner), Limit: 1}})
	if err != nil || len(page) == 0 || page[0].Owner != a.owner {
		return 0, err
	}
	return page[0].Last, nil
}

// uncounted is a cursor that nothing moves: all events are behind it.
const uncounted = "latchkey/none"

// auditVerifier verifies one trail, event by event.
type auditVerifier struct {
	a       Account
	ring    *Keyring
	report  AuditReport
	anchors []AuditAnchor // those that are not met yet, by Seq

	chained uint64 // the last event of the chain; 0: none
	hash    auditHash
	edited  bool         // its code is wrong, and was reported
	gone    []AuditRange // what is missing, until an event tells why

	authorised map[string]uint64 // by Object: the last event that tells of its erasure; 0: none
}

// event verifies the next event.
func (v *auditVerifier) event(ctx context.Context, e *Event) error {
	r := &v.report
	if e.Seq > r.Last+1 {
		v.missing(AuditRange{r.Last + 1, e.Seq - 1})
	}
	if r.Events++; r.First == 0 {
		r.First = e.Seq
	}
	r.Last = e.Seq
	verdict := v.ring.judge(e)
	v.meetAnchors(e)
	if verdict.state == auditUnchained {
		addRange(&r.Unchained, e.Seq)
		if v.chained != 0 {
			r.Between++
		}
		return nil
	}
	linked := v.link(e, &verdict)
	switch verdict.state {
	case auditEdited:
		v.fault(FaultEdited, e.Seq, e.Seq, "it is not as it was written")
	case auditUnknownKey:
		addRange(&r.Unverifiable, e.Seq)
		v.key(verdict.hash.keyID())
	case auditGenuine:
		v.key(verdict.hash.keyID())
		if v.ring.vouches(&verdict) {
			r.Chained++
			v.obey(e)
		} else {
			addRange(&r.Unkeyed, e.Seq)
		}
		erased, err := v.erased(ctx, e, &verdict)
		if err != nil {
			return err
		}
		if !erased {
			v.fault(FaultErased, e.Seq, e.Seq, "its record or its client is gone, and no later event tells of the erasure")
		} else if linked {
			r.Head = AuditAnchor{Owner: e.Owner, Seq: e.Seq, Hash: slices.Clone(e.Hash)}
		}
	}
	v.chained, v.hash, v.edited = e.Seq, verdict.hash, verdict.state == auditEdited
	return nil
}

// link verifies that an event follows the last one of the chain.
func (v *auditVerifier) link(e *Event, verdict *auditVerdict) bool {
	at := verdict.followed
	switch {
	case verdict.state == auditEdited:
		return false // its Prev may be what was edited
	case verdict.followsNonsense:
		v.fault(FaultOrder, e.Seq, e.Seq, "it follows no event: the place of the chain was overwritten before it was written")
	case verdict.followsNothing && v.chained != 0:
		v.fault(FaultOrder, e.Seq, e.Seq, fmt.Sprintf("the chain begins anew, though event %d was part of it", v.chained))
	case verdict.followsNothing:
		v.settle(e.Seq-1, false) // what was before the chain is not known, nor what is missing of it
		return true
	case at >= e.Seq:
		v.fault(FaultOrder, e.Seq, e.Seq, fmt.Sprintf("it follows event %d: the trail was put back to an earlier state", at))
	case at == v.chained && bytes.Equal(verdict.followedHash, v.hash[:]):
		return true
	case at == v.chained:
		if !v.edited { // else that was reported
			v.fault(FaultEdited, at, at, fmt.Sprintf("it is another one than event %d was written after", e.Seq))
		}
	case at < v.chained:
		v.fault(FaultOrder, at+1, e.Seq-1, fmt.Sprintf("event %d was written after event %d, without these", e.Seq, at))
	case v.isGone(at): // which is reported, unless a later event tells that it was purged or erased
		return true
	default:
		v.fault(FaultEdited, at, at, "its hash was removed")
	}
	return false
}

// isGone reports whether an event is missing, and nothing has told of it yet.
func (v *auditVerifier) isGone(seq uint64) bool {
	return slices.ContainsFunc(v.gone, func(r AuditRange) bool { return r.First <= seq && seq <= r.Last })
}

// maxGone bounds the ranges of missing events that wait for an event that explains them.
const maxGone = 10_000

// missing notes events that are not there. A later event may tell why.
func (v *auditVerifier) missing(r AuditRange) {
	if len(v.gone) == maxGone {
		first := v.gone[0]
		v.gone = v.gone[1:]
		v.fault(FaultMissing, first.First, first.Last, textMissing)
	}
	v.gone = append(v.gone, r)
}

const textMissing = "gone, and no event of the chain says that they were purged or erased"

// settle ends the wait of what is missing up to a number. Removed: an event says so.
func (v *auditVerifier) settle(through uint64, removed bool) {
	v.gone = slices.DeleteFunc(v.gone, func(r AuditRange) bool {
		if r.First > through {
			return false
		}
		if removed {
			addRanges(&v.report.Removed, AuditRange{r.First, min(r.Last, through)})
		} else {
			addRanges(&v.report.Unchained, r)
		}
		if r.Last > through {
			v.fault(FaultMissing, through+1, r.Last, textMissing)
		}
		return true
	})
	if !removed { // the events beside the gaps are in the list already
		v.report.Unchained = inOrder(v.report.Unchained)
	}
}

// inOrder sorts ranges, and joins those that touch.
func inOrder(all []AuditRange) (joined []AuditRange) {
	slices.SortFunc(all, func(a, b AuditRange) int { return cmp.Compare(a.First, b.First) })
	for _, r := range all {
		addRanges(&joined, r)
	}
	return joined
}

// obey takes what a genuine event says of others.
func (v *auditVerifier) obey(e *Event) {
	switch {
	case e.Action == actionErase && e.Object == e.Owner && e.Seq > 1:
		v.settle(e.Seq-1, true)
	case e.Action == actionPurge:
		var p purgedEvents
		if json.Unmarshal(e.After, &p) == nil && p.Through < e.Seq {
			v.settle(p.Through, true)
		}
	}
}

const (
	actionErase  = "owner.erase"
	actionPurge  = "audit.purge"
	actionRedact = "audit.redact"
)

// purgedEvents is the After of an event with actionPurge.
type purgedEvents struct {
	Through uint64 `json:"through"` // events up to this one may be gone
}

// erased reports whether nothing is gone of a genuine event, or a later genuine event tells of it.
func (v *auditVerifier) erased(ctx context.Context, e *Event, verdict *auditVerdict) (bool, error) {
	var objects []string
	if verdict.recordErased {
		objects = append(objects, e.Object)
	}
	if verdict.actorErased {
		objects = append(objects, erasedActor(verdict.hash.keyID(), verdict.hash.actor()))
	}
	for _, object := range objects {
		last, known := v.authorised[object]
		if !known || last < e.Seq {
			var err error
			if last, err = v.lastErasure(ctx, object); err != nil {
				return false, err
			}
			if len(v.authorised) >= 10_000 {
				clear(v.authorised)
			}
			v.authorised[object] = last
		}
		if last <= e.Seq {
			return false, nil
		}
	}
	if len(objects) > 0 {
		v.report.Erased++
	}
	return true, nil
}

// lastErasure returns the number of the last genuine event that tells of the erasure of an object, or 0.
func (v *auditVerifier) lastErasure(ctx context.Context, object string) (uint64, error) {
	if object == "" {
		return 0, nil
	}
	for q := (EventQuery{Object: object, Reverse: true}); ; {
		page, next, err := v.a.m.store.Events(ctx, v.a.owner, q)
		if err != nil {
			return 0, err
		}
		for i := range page {
			e := &page[i]
			if e.Action != actionRedact {
				continue
			}
			if verdict := v.ring.judge(e); v.ring.vouches(&verdict) {
				return e.Seq, nil
			}
		}
		if q.After = next; next == "" {
			return 0, nil
		}
	}
}

// meetAnchors compares an event with the anchors of its number.
func (v *auditVerifier) meetAnchors(e *Event) {
	for len(v.anchors) > 0 && v.anchors[0].Seq <= e.Seq {
		a := v.anchors[0]
		v.anchors = v.anchors[1:]
		if a.Seq == e.Seq && !bytes.Equal(a.Hash, e.Hash) {
			v.fault(FaultEdited, e.Seq, e.Seq, "it is another one than the anchor names")
		}
		// An event that is missing is one, whatever an anchor says.
	}
}

// end settles what nothing explained. Last is how many events there were before the first was read.
func (v *auditVerifier) end(last uint64) {
	for _, r := range v.gone {
		v.fault(FaultMissing, r.First, r.Last, textMissing)
	}
	v.gone = nil
	cut := v.report.Last
	text := "gone from the end of the trail, where the store counted them"
	if n := len(v.anchors); n > 0 && v.anchors[n-1].Seq > max(cut, last) {
		last, text = v.anchors[n-1].Seq, "gone from the end of the trail: an anchor names the last of them"
	}
	if last > cut {
		v.fault(FaultCut, cut+1, last, text)
	}
}

func (v *auditVerifier) fault(kind AuditFaultKind, first, last uint64, text string) {
	if len(v.report.Faults) == maxAuditFaults {
		v.report.MoreFaults++
		return
	}
	v.report.Faults = append(v.report.Faults, AuditFault{kind, AuditRange{first, last}, text})
}

func (v *auditVerifier) key(id uint32) {
	if !slices.Contains(v.report.Keys, id) && len(v.report.Keys) < maxAuditFaults {
		v.report.Keys = append(v.report.Keys, id)
	}
}

// addRange adds the next number to ranges.
func addRange(to *[]AuditRange, seq uint64) { addRanges(to, AuditRange{seq, seq}) }

// addRanges adds a range. Beyond maxAuditFaults ranges, the last one is stretched.
func addRanges(to *[]AuditRange, r AuditRange) {
	list := *to
	if n := len(list); n > 0 && (list[n-1].Last+1 == r.First || n == maxAuditFaults && list[n-1].Last < r.First) {
		list[n-1].Last = r.Last
		return
	}
	*to = append(list, r)
}

// AuditCheckpoint returns a signed anchor of the last event of the owner's audit trail, to be kept where whoever can
// write the database cannot. Without a Keyring it is not signed. It returns [ErrNotFound] while the chain has no event,
// [ErrUnavailable] if that event is not as it was written, and [ErrNeedsKeyring] if the Keyring lacks its key. An actor
// needs read on "latchkey/event".
func (a Account) AuditCheckpoint(ctx context.Context) (AuditAnchor, error) {
	c, err := a.begin(ctx)
	if err == nil {
		err = c.check(Read, "event", "")
	}
	if err != nil {
		return AuditAnchor{}, err
	}
	return a.m.anchor(ctx, a.owner)
}

// anchor signs the last event of the chain of an owner.
func (m *Manager) anchor(ctx context.Context, owner string) (AuditAnchor, error) {
	for q := (EventQuery{Reverse: true, Page: Page{Limit: 10}}); ; {
		page, next, err := m.store.Events(ctx, owner, q)
		if err != nil {
			return AuditAnchor{}, err
		}
		for i := range page {
			e := &page[i]
			switch v := m.opts.Keyring.judge(e); v.state {
			case auditUnchained:
				continue
			case auditEdited:
				return AuditAnchor{}, fmt.Errorf("%w: event %d of the audit trail is not as it was written: call VerifyAudit",
					ErrUnavailable, e.Seq)
			case auditUnknownKey:
				return AuditAnchor{}, fmt.Errorf("%w: event %d of the audit trail has key %d", ErrNeedsKeyring, e.Seq,
					v.hash.keyID())
			}
			anchor, _ := e.Anchor()
			m.opts.Keyring.sign(&anchor, fromMicros(m.creationNow()))
			return anchor, nil
		}
		if q.After = next; next == "" {
			return AuditAnchor{}, fmt.Errorf("%w: the audit trail has no event in a chain", ErrNotFound)
		}
		q.Limit = 1000
	}
}

// Anchor hands signed anchors of all owners' audit trails to keep, a function that puts them where whoever can write
// the database cannot: those of owners with events that were not anchored before under the name cursor. It is to
// anchors what [Manager.Deliver] is to events, with cursors of the same kind, so its name must not be one of Deliver's.
// When keep returns nil, the cursor moves to the last event. If it returns an error, Anchor goes on with the next
// owner. It returns how many anchors were kept, and all errors joined.
//
// Call it every minute, say: what is cut off an owner's trail is found up to its last anchor. Keep the newest anchor of
// each owner, at least, and give it to [Account.VerifyAudit].
func (m *Manager) Anchor(ctx context.Context, cursor string,
	keep func(ctx context.Context, a AuditAnchor) error) (int, error) {
	return m.eachUndelivered(ctx, cursor, "latchkey: not all audit trails were anchored", func(d Delivery) (int, error) {
		kept := 0
		anchor, err := m.anchor(ctx, d.Owner)
		if err == nil {
			if err = keep(ctx, anchor); err == nil {
				kept = 1
			}
		}
		if errors.Is(err, ErrNotFound) && anchor.Seq == 0 {
			err = nil // there is nothing to anchor
		}
		if err == nil {
			err = m.store.Deliver(ctx, d.Owner, cursor, max(d.Last, anchor.Seq))
		}
		if err != nil {
			err = fmt.Errorf("latchkey: the audit trail of %q was not anchored: %w", d.Owner, err)
		}
		return kept, err
	})
}

// redacts returns the events that tell of the erasure of records.
func redacts(objects []string) (events []Event) {
	for _, object := range objects {
		events = append(events, Event{Action: actionRedact, Object: object})
	}
	return events
}

// redactsActor returns the events that tell of the erasure of a client that caused events: one for each key that the
// tags of its events are of, and for that of new events.
func (a Account) redactsActor(ctx context.Context, id string) ([]Event, error) {
	actor := clientActor + id
	ring := a.m.opts.Keyring
	keys := []auditKey{ring.auditKey()}
	for q := (EventQuery{Actor: &actor, Page: Page{Limit: 1000}}); ; {
		page, next, err := a.m.store.Events(ctx, a.owner, q)
		if err != nil {
			return nil, err
		}
		for i := range page {
			h, ok := parseAuditHash(page[i].Hash)
			if !ok || slices.ContainsFunc(keys, func(k auditKey) bool { return k.id == h.keyID() }) {
				continue
			}
			if key, ok := ring.auditKeyOf(h.keyID()); ok {
				keys = append(keys, key)
			}
		}
		if q.After = next; next == "" {
			break
		}
	}
	var objects []string
	for _, key := range keys {
		var tag [auditActorSize]byte
		key.tagActor(tag[:], a.owner, actor)
		objects = append(objects, erasedActor(key.id, tag[:]))
	}
	return redacts(objects), nil
}
