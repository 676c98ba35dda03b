package latchkey

// Questions of a caller without a client.

func (p *policy) verdict(a Action, on Resource) verdict {
	return p.verdictOf(&question{action: a, on: string(on)})
}

func (p *policy) grants(a Action, on Resource) []grant {
	return p.grantsOf(&question{action: a, on: string(on)})
}

func (p *policy) rows(a Action, on Resource) Condition {
	return p.rowsFor(&question{action: a, on: string(on)})
}

func (p *policy) explain(a Action, on Resource) Explanation {
	return p.explainOf(&question{action: a, on: string(on)})
}
