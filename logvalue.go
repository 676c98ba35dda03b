package latchkey

import "log/slog"

// What package slog logs of the types here is ids, kinds, reasons and moments. It is never a secret, and nothing that a
// host may hold private: no name of a token or a client, Extra, attribute, address, text of an audit reason, or record.
// Who wants one of these in a log names it.

// logged returns the attributes that are not zero.
func logged(attrs ...slog.Attr) slog.Value {
	kept := attrs[:0]
	for _, a := range attrs {
		switch v := a.Value; v.Kind() {
		case slog.KindString:
			if v.String() == "" {
				continue
			}
		case slog.KindBool:
			if !v.Bool() {
				continue
			}
		case slog.KindTime:
			if v.Time().IsZero() {
				continue
			}
		case slog.KindDuration:
			if v.Duration() == 0 {
				continue
			}
		case slog.KindAny: // of the zero Attr
			continue
		}
		kept = append(kept, a)
	}
	return slog.GroupValue(kept...)
}

func kindAttr(k Kind) slog.Attr {
	if k == 0 {
		return slog.Attr{}
	}
	return slog.String("kind", k.String())
}

func errorAttr(err error) slog.Attr {
	if err == nil {
		return slog.Attr{}
	}
	return slog.String("error", err.Error())
}

// LogValue returns the ids of the token, the owner and the client, and the kind.
func (a Access) LogValue() slog.Value {
	return logged(slog.String("token", a.TokenID()), slog.String("owner", a.Owner()), kindAttr(a.Kind()),
		slog.String("client", a.Client().ID), slog.Bool("test", a.Test()))
}

// LogValue returns the ids of the token, of its owner, its parent and its client, its kind, and whether and when it
// ends.
func (t Token) LogValue() slog.Value {
	return logged(slog.String("token", t.ID), slog.String("owner", t.Owner), kindAttr(t.Kind),
		slog.String("parent", t.Parent), slog.String("client", t.Client.ID), slog.Bool("test", t.Test),
		slog.Bool("disabled", t.Disabled), slog.Time("revoked", t.Revoked), slog.Time("not_after", t.Validity.NotAfter))
}

// LogValue returns the id.
func (c Client) LogValue() slog.Value { return slog.StringValue(c.ID) }

// LogValue returns the id, the owner, and the name.
func (r Role) LogValue() slog.Value {
	return logged(slog.String("role", r.ID), slog.String("owner", r.Owner), slog.String("name", r.Name))
}

// LogValue returns whether there is a secret, and whether the request was signed. It never returns
// what either holds.
func (p Presented) LogValue() slog.Value {
	return logged(slog.Bool("secret", p.Secret != ""), slog.Bool("signed", p.Signature != nil), slog.Bool("test", p.Test))
}

// LogValue returns when the request was signed.
func (s Signature) LogValue() slog.Value { return logged(slog.Time("date", s.Date)) }

// LogValue returns all but the client's name and the address.
func (r Refusal) LogValue() slog.Value {
	return logged(slog.String("reason", r.Reason), slog.String("token", r.TokenID), slog.String("owner", r.Owner),
		kindAttr(r.Kind), slog.String("client", r.Client.ID), slog.Bool("test", r.Test),
		slog.String("action", string(r.Action)), slog.String("resource", string(r.Resource)), errorAttr(r.Err))
}

// LogValue returns who did what to which record. It leaves out when, which a log says itself, the reason, the address
// and the records.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("action", e.Action), slog.String("object", e.Object), slog.String("owner", e.Owner),
		slog.String("actor", e.Actor)}
	if e.Seq != 0 { // an Observer is told before it is read back
		attrs = append(attrs, slog.Uint64("seq", e.Seq))
	}
	return logged(attrs...)
}

// LogValue returns all but Start.
func (v Verification) LogValue() slog.Value {
	return logged(slog.String("outcome", v.Outcome), slog.String("source", string(v.Source)), slog.Bool("again", v.Again),
		kindAttr(v.Kind), slog.String("owner", v.Owner), slog.Duration("duration", v.Duration), errorAttr(v.Err))
}

// LogValue returns all but Start.
func (c StoreCall) LogValue() slog.Value {
	return logged(slog.String("op", c.Op), slog.String("class", c.Class), slog.Duration("duration", c.Duration),
		errorAttr(c.Err))
}

// LogValue returns all but Start.
func (m Minting) LogValue() slog.Value {
	return logged(slog.String("outcome", m.Outcome), slog.String("owner", m.Owner), slog.String("parent", m.ParentID),
		slog.String("token", m.TokenID), slog.Int("tries", m.Tries), slog.Duration("duration", m.Duration), errorAttr(m.Err))
}

// LogValue returns all fields.
func (l Leasing) LogValue() slog.Value {
	return logged(slog.String("what", l.What), slog.String("owner", l.Owner), slog.String("meter", l.Meter),
		slog.Int64("amount", int64(l.Amount)), errorAttr(l.Err))
}

// LogValue returns all fields.
func (f Failure) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("part", f.Part), slog.String("message", f.Message), errorAttr(f.Err)}
	if f.Lost != 0 {
		attrs = append(attrs, slog.Int64("lost", f.Lost))
	}
	return logged(attrs...)
}

// LogValue returns the text, and the fields.
func (e *DeniedError) LogValue() slog.Value {
	return logged(slog.String("error", e.Error()), slog.String("action", string(e.Action)),
		slog.String("resource", string(e.Resource)), slog.Bool("rows", e.Rows))
}

// LogValue returns the text, and the fields of Denied.
func (e *FaultError) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("error", e.Error())}
	if e.Denied != nil {
		attrs = append(attrs, slog.String("action", string(e.Denied.Action)),
			slog.String("resource", string(e.Denied.Resource)))
	}
	return logged(attrs...)
}

// LogValue returns the text, and the fields.
func (e *ConditionError) LogValue() slog.Value {
	return logged(slog.String("error", e.Error()), slog.String("field", e.Field), slog.Bool("unknown", e.Unknown),
		slog.Bool("of_rule", e.OfRule))
}

// LogValue returns the text, and the state of the rate.
func (e *RateLimitError) LogValue() slog.Value {
	return logged(slog.String("error", e.Error()), slog.Int("limit", e.Info.Limit),
		slog.Duration("retry_after", e.Info.RetryAfter))
}

// LogValue returns the text, the account, and when its period is over.
func (e *OverLimitError) LogValue() slog.Value {
	return logged(slog.String("error", e.Error()), slog.String("token", e.Account.TokenID),
		slog.String("meter", e.Account.Meter), slog.Int64("left", int64(e.Left)), slog.Time("resets", e.Resets))
}

// LogValue returns the text, and which record it is.
func (e *DamagedError) LogValue() slog.Value {
	return logged(slog.String("error", e.Error()), slog.String("record", e.Kind.noun()), slog.String("id", e.ID),
		slog.String("owner", e.Owner))
}
