package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// generator makes the mutants of one file by operators.
type generator struct {
	file string
	text string
	set  *token.FileSet
	list []mutant

	function  *ast.FuncDecl
	name      string // of the function, with its receiver
	body, end int
	lines     []string
}

// generate returns the mutants that the operators make of a file. Each changes one function. Some do not build.
//
// The operators: a condition, or one of those that && and || join, always or never holds; a comparison includes its
// bound, or no longer; == and !=; + and -; a number in a comparison or a sum is one more; a ! is gone; a statement
// that calls, assigns, counts, breaks or continues is gone, and so is a case; a literal lacks a field; what is returned
// is the opposite, or no error; a function that returns a bool or an error returns at once.
//
// Nothing is made of what no caller can depend on: the texts of errors and panics, what is printed of a value, the
// room that a slice or map is made with, grows by or is clipped to, slots that are cleared behind the end of a slice,
// what is put back into a pool, how much of a list is read at a time, how many characters a loop checks at a time,
// hashes that say where a value is looked for and not which it is, and locks.
func generate(dir, file string) ([]mutant, error) {
	read, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return nil, err
	}
	g := &generator{file: file, text: string(read), set: token.NewFileSet(), lines: strings.Split(string(read), "\n")}
	tree, err := parser.ParseFile(g.set, file, read, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, decl := range tree.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil || f.Name.Name == "String" || f.Name.Name == "GoString" || f.Name.Name == "LogValue" {
			continue // what is printed decides nothing
		}
		if hashName.MatchString(f.Name.Name) {
			continue
		}
		g.function, g.name = f, f.Name.Name
		if f.Recv != nil {
			g.name = g.source(f.Recv.List[0].Type) + "." + g.name
		}
		g.body, g.end = g.offset(f.Body.Lbrace)+1, g.offset(f.Body.Rbrace)
		g.returnAtOnce()
		ast.Inspect(f.Body, g.visit)
		g.returns(f.Type, f.Body)
	}
	return slices.DeleteFunc(g.list, func(m mutant) bool {
		_, err := parser.ParseFile(token.NewFileSet(), file, g.text[:m.body]+m.changed+g.text[m.end:],
			parser.SkipObjectResolution)
		return err != nil
	}), nil
}

func (g *generator) offset(p token.Pos) int { return g.set.Position(p).Offset }

func (g *generator) source(n ast.Node) string { return g.text[g.offset(n.Pos()):g.offset(n.End())] }

// put adds the mutant that has other text from one offset to another.
func (g *generator) put(from, to int, text string) {
	line := strings.Count(g.text[:from], "\n")
	first := strings.LastIndexByte(g.text[:from], '\n') + 1
	last := to + strings.IndexByte(g.text[to:], '\n')
	m := mutant{file: g.file, pkg: path.Dir(g.file), line: line + 1, what: strings.TrimSpace(g.lines[line]),
		function: g.name, old: squeezed(g.text[first:last]), new: squeezed(g.text[first:from] + text + g.text[to:last]),
		body: g.body, end: g.end, mark: statementAt(g.set, g.function.Body, from),
		changed: g.text[g.body:from] + text + g.text[to:g.end],
		void:    g.function.Type.Results.NumFields() == 0}
	if m.old != m.new && !slices.ContainsFunc(g.list, func(x mutant) bool {
		return x.body == m.body && x.changed == m.changed
	}) {
		g.list = append(g.list, m)
	}
}

func (g *generator) replace(n ast.Node, text string) {
	g.put(g.offset(n.Pos()), g.offset(n.End()), text)
}

// squeezed returns a text with each run of white space as one blank.
func squeezed(text string) string { return strings.Join(strings.Fields(text), " ") }

// condition lets a condition never hold, and always. Its parts stay, so what they use stays used. That what failed did
// not fail is one mutant: that all fails would be seen by any test.
func (g *generator) condition(x ast.Expr) {
	text := g.source(x)
	g.replace(x, "("+text+") && false")
	if !strings.Contains(text, "err != nil") {
		g.replace(x, "("+text+") || true")
	}
}

// visit makes the mutants of a node, and returns whether those of its children are to be made.
func (g *generator) visit(n ast.Node) bool {
	if g.hashes(n) {
		return false
	}
	call, ok := n.(*ast.CallExpr)
	if !ok {
		g.mutate(n)
		return true
	}
	args := call.Args
	switch name := g.source(call.Fun); {
	case name == "fmt.Errorf" || name == "errors.New" || name == "panic":
		return false
	case name == "make" && len(args) == 2:
		if _, ok := args[0].(*ast.MapType); ok {
			return false
		}
	case name == "make" && len(args) == 3:
		ast.Inspect(args[1], g.visit)
		return false
	}
	return true
}

// room reports whether a statement only makes room, or only lets go of memory.
func room(s ast.Stmt) bool {
	x, ok := s.(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := x.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		return f.Sel.Name == "Grow" || f.Sel.Name == "Put" && len(call.Args) == 1 // of a sync.Pool
	case *ast.Ident:
		if f.Name == "clear" && len(call.Args) == 1 {
			_, ok := call.Args[0].(*ast.SliceExpr)
			return ok
		}
	}
	return false
}

// hashName matches a function that returns a hash, or writes into one.
var hashName = regexp.MustCompile(`^hash[A-Z]`)

// hashes reports whether a node mixes something into a hash h, or finds a place by one.
func (g *generator) hashes(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.AssignStmt:
		to := g.source(n.Lhs[0])
		return len(n.Lhs) == 1 && (to == "h" || strings.HasSuffix(to, ".hash")) &&
			(n.Tok == token.XOR_ASSIGN || strings.Contains(g.source(n), " ^ "))
	case *ast.BinaryExpr:
		return strings.HasPrefix(g.source(n), "(h^h>>")
	}
	return false
}

// pageSize matches a field that says how much of a list is read at a time.
var pageSize = regexp.MustCompile(`^(Page: Page\{)?Limit: [0-9]+\}?$`)

func (g *generator) mutate(n ast.Node) {
	switch n := n.(type) {
	case *ast.IfStmt:
		g.condition(n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil && !eightAtATime.MatchString(g.source(n.Cond)) {
			g.replace(n.Cond, "("+g.source(n.Cond)+") && false")
		}
	case *ast.SwitchStmt:
		for _, s := range n.Body.List {
			c := s.(*ast.CaseClause)
			for i, x := range c.List {
				switch {
				case n.Tag == nil:
					g.condition(x)
				case len(c.List) > 1 && i < len(c.List)-1:
					g.put(g.offset(x.Pos()), g.offset(c.List[i+1].Pos()), "")
				case len(c.List) > 1:
					g.put(g.offset(c.List[i-1].End()), g.offset(x.End()), "")
				default:
					g.put(g.offset(c.Pos()), g.offset(c.End()), "")
				}
			}
		}
	case *ast.BinaryExpr:
		g.binary(n)
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			g.replace(n, g.source(n.X))
		}
	case *ast.BlockStmt:
		g.statements(n.List)
	case *ast.CaseClause:
		g.statements(n.Body)
	case *ast.CommClause:
		g.statements(n.Body)
	case *ast.CompositeLit:
		for i, e := range n.Elts {
			kv, ok := e.(*ast.KeyValueExpr)
			if ok && pageSize.MatchString(g.source(kv)) {
				continue
			}
			if ok && i+1 < len(n.Elts) {
				g.put(g.offset(kv.Pos()), g.offset(n.Elts[i+1].Pos()), "")
			} else if ok {
				g.replace(kv, "")
			}
		}
	case *ast.FuncLit:
		g.returns(n.Type, n.Body)
	}
}

var others = map[token.Token]string{token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">", token.EQL: "!=",
	token.NEQ: "==", token.ADD: "-", token.SUB: "+", token.AND: "|", token.OR: "&"}

// eightAtATime matches the condition of a loop over a text that leaves less than eight characters to the next loop.
var eightAtATime = regexp.MustCompile(`^len\(\w+\) >= 8$`)

func (g *generator) binary(n *ast.BinaryExpr) {
	if eightAtATime.MatchString(g.source(n)) {
		return
	}
	at := g.offset(n.OpPos)
	if n.Op == token.LAND || n.Op == token.LOR {
		with := " || true)"
		if n.Op == token.LOR {
			with = " && false)"
		}
		for _, x := range []ast.Expr{n.X, n.Y} {
			g.replace(x, "("+"("+g.source(x)+")"+with)
		}
		return
	}
	if other, ok := others[n.Op]; ok && !strings.Contains(g.source(n), `"`) {
		g.put(at, at+len(n.Op.String()), other)
	}
	for _, x := range []ast.Expr{n.X, n.Y} {
		if l, ok := x.(*ast.BasicLit); ok && l.Kind == token.INT {
			g.replace(l, "("+l.Value+" + 1)")
		}
	}
}

func (g *generator) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.ExprStmt, *ast.IncDecStmt, *ast.DeferStmt, *ast.GoStmt, *ast.SendStmt, *ast.BranchStmt:
			if !locks(g.source(s)) && !room(s) {
				g.replace(s, "")
			}
		case *ast.AssignStmt:
			if s.Tok != token.DEFINE && !g.hashes(s) && !makesRoom.MatchString(g.source(s)) {
				g.replace(s, "")
			}
		}
	}
}

// makesRoom matches an assignment of an empty slice with room, or one that drops room.
var makesRoom = regexp.MustCompile(`^[\w.]+ = (make\(\[\]\w+, 0, .*\)|slices\.Clip\([\w.]+\))$`)

// locks reports whether a statement takes or leaves a lock. Without one only the race detector sees it, or tests hang.
func locks(s string) bool {
	return strings.HasSuffix(s, "Lock()") || strings.HasSuffix(s, "Unlock()")
}

// last returns the type of the last result, if it is bool or error.
func last(t *ast.FuncType) string {
	if t.Results.NumFields() == 0 {
		return ""
	}
	id, ok := t.Results.List[len(t.Results.List)-1].Type.(*ast.Ident)
	if ok && (id.Name == "bool" || id.Name == "error") {
		return id.Name
	}
	return ""
}

// returns alters what the body of a function returns, but not that of functions in it.
func (g *generator) returns(t *ast.FuncType, body *ast.BlockStmt) {
	kind := last(t)
	if kind == "" {
		return
	}
	ast.Inspect(body, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncLit); ok {
			return false
		}
		r, ok := n.(*ast.ReturnStmt)
		if !ok || len(r.Results) != t.Results.NumFields() {
			return true
		}
		x := r.Results[len(r.Results)-1]
		switch text := g.source(x); {
		case kind == "bool":
			g.replace(x, "!("+text+")")
		case text != "nil" && text != "err":
			g.replace(x, "nil")
		}
		return true
	})
}

// returnAtOnce lets the function return before it does anything.
func (g *generator) returnAtOnce() {
	t, at := g.function.Type, g.body
	if t.Results.NumFields() > 1 {
		return
	}
	switch last(t) {
	case "bool":
		g.put(at, at, "\nif true { return true }\n")
		g.put(at, at, "\nif true { return false }\n")
	case "error":
		g.put(at, at, "\nif true { return nil }\n")
	default:
		if t.Results.NumFields() == 0 {
			g.put(at, at, "\nif true { return }\n")
		}
	}
}

// equivalent is an entry of the list of equivalent mutants.
type equivalent struct {
	at             int // its line there
	file, function string
	old, new       string
	reason         string
}

// parseEquivalents reads that list. Its format is described at its head.
func parseEquivalents(text string) ([]equivalent, error) {
	var list []equivalent
	var e *equivalent
	first, changed := 0, false // where the entry begins in list, and whether it has a line of a mutant
	for i, line := range strings.Split(text, "\n") {
		sign := ""
		if line != "" {
			sign = line[:1]
		}
		switch {
		case sign == "" || sign == "#":
			if e != nil {
				for j := first; j < len(list); j++ {
					list[j].reason = e.reason
				}
			}
			e = nil
		case e == nil:
			file, function, found := strings.Cut(line, " ")
			if !found {
				return nil, fmt.Errorf("line %d is not: file function", i+1)
			}
			first, changed = len(list), false
			list = append(list, equivalent{at: i + 1, file: file, function: function})
			e = &list[first]
		case sign == "-" && e.old == "":
			e.old = squeezed(line[1:])
		case sign == "+" && e.old != "" && e.reason == "":
			if changed {
				list = append(list, *e)
				e = &list[len(list)-1]
			}
			e.new, changed = squeezed(line[1:]), true
		case sign == " " && changed:
			e.reason = strings.TrimSpace(e.reason + " " + strings.TrimSpace(line))
		default:
			return nil, fmt.Errorf("line %d is out of place", i+1)
		}
	}
	for _, e := range list {
		if e.old == "" || e.reason == "" {
			return nil, fmt.Errorf("line %d: it lacks its line or its reason", e.at)
		}
	}
	return list, nil
}

// is reports whether m is the mutant of e.
func (e *equivalent) is(m *mutant) bool {
	return e.file == m.file && e.function == m.function && e.old == m.old && e.new == m.new
}
