package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// mutant is one entry of the list. Its number is its position there, from 1.
type mutant struct {
	number   int
	at       int    // its line in the list
	file     string // the file to change
	pkg      string // directory of the tests
	tests    string // regular expression, as for go test -run
	old, new string
	line     int // of the first difference in file
	what     string

	body, end int    // offsets in file of the body of the function, between its braces
	mark      int    // that of the statement that holds the change
	changed   string // the body with new in place of old
	void      bool   // the function has no results

	function string   // the name, of those that were generated
	more     []string // directories of more tests, of those that were generated
}

func (m *mutant) String() string { return fmt.Sprintf("%d: %s:%d: %s", m.at, m.file, m.line, m.what) }

// parse reads a list. Its format is described at the head of mutants.txt.
func parse(text string) ([]mutant, error) {
	var list []mutant
	var m *mutant
	for i, line := range strings.Split(text, "\n") {
		sign, rest := "", ""
		if line != "" {
			sign, rest = line[:1], line[1:]
		}
		switch {
		case line == "" || sign == "#":
			m = nil
		case m == nil && sign != "-" && sign != "+":
			fields := strings.Fields(line)
			if len(fields) < 2 || len(fields) > 3 {
				return nil, fmt.Errorf("line %d is not: file tests [package]", i+1)
			}
			list = append(list, mutant{number: len(list) + 1, at: i + 1, file: fields[0], tests: fields[1],
				pkg: path.Dir(fields[0])})
			m = &list[len(list)-1]
			if len(fields) == 3 {
				m.pkg = path.Clean(fields[2])
			}
		case m != nil && sign == "-" && m.new == "":
			m.old += rest + "\n"
		case m != nil && sign == "+" && m.old != "":
			m.new += rest + "\n"
		default:
			return nil, fmt.Errorf("line %d is out of place", i+1)
		}
	}
	for i := range list {
		m := &list[i]
		if m.old == "" {
			return nil, fmt.Errorf("line %d: it replaces nothing", m.at)
		}
		m.old, m.new = strings.TrimSuffix(m.old, "\n"), strings.TrimSuffix(m.new, "\n")
		if m.old == m.new {
			return nil, fmt.Errorf("line %d: it changes nothing", m.at)
		}
	}
	return list, nil
}

// locate finds the function that holds the old text. The file must hold the text exactly once.
func (m *mutant) locate(dir string) error {
	fail := func(say string, args ...any) error {
		return fmt.Errorf("line %d: %s %s\n%s", m.at, m.file, fmt.Sprintf(say, args...), m.old)
	}
	read, err := os.ReadFile(filepath.Join(dir, m.file))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail("does not exist: correct the list")
	case err != nil:
		return fmt.Errorf("line %d: %w", m.at, err)
	}
	text := string(read)
	before, after, found := strings.Cut(text, m.old)
	switch {
	case !found:
		return fail("no longer has this text: correct the list")
	case strings.Contains(after, m.old):
		return fail("has this text more than once: name more of it")
	}
	head, tail, shorter := 0, 0, min(len(m.old), len(m.new)) // the length of their common head and tail
	for head < shorter && m.old[head] == m.new[head] {
		head++
	}
	for tail < shorter-head && m.old[len(m.old)-1-tail] == m.new[len(m.new)-1-tail] {
		tail++
	}
	first, last := len(before)+head, len(text)-len(after)-tail
	m.line = 1 + strings.Count(text[:first], "\n")
	m.what = strings.TrimSpace(strings.Split(text, "\n")[m.line-1])
	files := token.NewFileSet()
	tree, err := parser.ParseFile(files, m.file, text, parser.SkipObjectResolution)
	if err != nil {
		return fail("does not parse: %v", err)
	}
	edited := before + m.new + after
	if _, err := parser.ParseFile(token.NewFileSet(), m.file, edited, parser.SkipObjectResolution); err != nil {
		return fail("would not parse: %v", err)
	}
	for _, decl := range tree.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		body, end := files.Position(f.Body.Lbrace).Offset+1, files.Position(f.Body.Rbrace).Offset
		if first < body || last > end {
			continue
		}
		m.body, m.end, m.void = body, end, f.Type.Results.NumFields() == 0
		m.mark = statementAt(files, f.Body, first)
		m.changed = edited[body : end+len(m.new)-len(m.old)]
		return nil
	}
	return fail("has this text outside of a function's body")
}

// statementAt returns the offset of the innermost statement of a body that holds an offset and before which another
// statement may stand.
func statementAt(files *token.FileSet, body *ast.BlockStmt, offset int) int {
	at := func(p token.Pos) int { return files.Position(p).Offset }
	found := at(body.Lbrace) + 1
	ast.Inspect(body, func(n ast.Node) bool {
		var list []ast.Stmt
		switch n := n.(type) {
		case *ast.BlockStmt:
			list = n.List
		case *ast.CaseClause:
			list = n.Body
		case *ast.CommClause:
			list = n.Body
		}
		for _, s := range list {
			switch s.(type) {
			case *ast.CaseClause, *ast.CommClause:
				continue
			}
			if at(s.Pos()) <= offset && offset < at(s.End()) {
				found = at(s.Pos())
			}
		}
		return true
	})
	return found
}

// numbered returns the source of a file with the given mutants, all of that file. Each takes effect if its number is
// on. Positions are those of the file. Those of a mutant name the line of the list, too. The text of the file itself
// notes which of its statements with mutants are reached, if the number is below 0.
func numbered(file, list, text string, mutants []*mutant) string {
	bodies, marks := map[int][]*mutant{}, map[int][]*mutant{}
	for _, m := range mutants {
		bodies[m.body] = append(bodies[m.body], m)
		marks[m.mark] = append(marks[m.mark], m)
	}
	var b strings.Builder
	done := 0
	for at := range text {
		if bodies[at] == nil && marks[at] == nil {
			continue
		}
		b.WriteString(text[done:at])
		done = at
		for i, m := range bodies[at] {
			if i == 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "if %s == %d {\n//line %s@%d/%s:%d\n%s\n", variable, m.number, list, m.at, path.Base(m.file),
				1+strings.Count(text[:at], "\n"), m.changed)
			if m.void {
				b.WriteString("return\n")
			}
			b.WriteString("}\n")
		}
		if bodies[at] != nil {
			fmt.Fprintf(&b, "//line %s:%d\n", file, 1+strings.Count(text[:at], "\n"))
		}
		for i, m := range marks[at] {
			if i == 0 {
				fmt.Fprintf(&b, "if %s < 0 {", variable)
			}
			fmt.Fprintf(&b, " %s(%d);", reached, m.number)
		}
		if marks[at] != nil {
			b.WriteString(" }; ")
		}
	}
	b.WriteString(text[done:])
	return b.String()
}

// variable is the variable of a package that holds the number of the mutant that is on.
const variable = "mutantThatIsOn"

// reached is the function of a package that notes that the statement of a mutant is reached. It takes the number.
const reached = "mutantIsReached"

// environment is the environment variable that sets it. Unset: no mutant is on. -1: none, and what is reached is noted.
const environment = "MUTANT"

// traceFile is the environment variable that names the file of those notes.
const traceFile = "MUTANT_TRACE"

// chooser returns the source of the file that declares variable and reached in a package.
func chooser(pkg string) string {
	return fmt.Sprintf("package %s\n\nimport (\n\t\"os\"\n\t\"strconv\"\n\t\"sync/atomic\"\n)\n\n"+
		"var %s = func() int { n, _ := strconv.Atoi(os.Getenv(%q)); return n }()\n\n"+
		"var %sAlready [1 << 16]atomic.Bool\n\n"+
		"func %[4]s(n int) {\n"+
		"\tif !%[4]sAlready[n%%(1<<16)].Swap(true) {\n"+
		"\t\tf, err := os.OpenFile(os.Getenv(%[5]q), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)\n"+
		"\t\tif err == nil {\n\t\t\t_, _ = f.WriteString(strconv.Itoa(n) + \"\\n\")\n\t\t\t_ = f.Close()\n\t\t}\n\t}\n}\n",
		pkg, variable, environment, reached, traceFile)
}
