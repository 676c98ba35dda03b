// Command gosec runs gosec on the code of every module of the repository, without its tests, and compares what it
// finds with exceptions.txt beside it. A finding that is not on the list fails the run, and so does an entry of the
// list that gosec no longer finds, a package that it could not read, and a file that it left out.
//
//	go run ./scripts/gosec              all modules
//	go run ./scripts/gosec -unlisted    print what is not on the list in its format, without reasons
//
// Comments that would hide a finding (#nosec) have no effect. Each run looks first at a package with planted
// mistakes, and fails unless gosec finds them. Files that other programs wrote are not looked at, nor are those of
// other systems than the one it runs on.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const tool = "github.com/securego/gosec/v2/cmd/gosec@v2.22.4"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gosec:", err)
		os.Exit(1)
	}
}

// errFailed is returned by a run that completed and printed what is wrong.
var errFailed = errors.New("findings and exceptions differ")

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("gosec", flag.ContinueOnError)
	root := flags.String("root", ".", "the directory whose modules are looked at")
	list := flags.String("list", "scripts/gosec/exceptions.txt", "the list of exceptions, relative to root")
	program := flags.String("program", "", "gosec's program; empty: the pinned version, which is installed first")
	unlisted := flags.Bool("unlisted", false, "print what is not on the list in its format")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := filepath.Abs(*root)
	if err != nil {
		return err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil { // as the go command names directories
		return err
	}
	text, err := os.ReadFile(filepath.Join(dir, *list))
	if err != nil {
		return err
	}
	listed, err := parse(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", *list, err)
	}
	work, err := os.MkdirTemp("", "gosec")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	s := &scanner{program: *program}
	if s.program == "" {
		if s.program, err = install(ctx, work); err != nil {
			return err
		}
	}
	if err := s.control(ctx, filepath.Join(work, "planted")); err != nil {
		return err
	}
	found, files, err := s.repository(ctx, dir)
	if err != nil {
		return err
	}
	extra, stale := compare(found, listed)
	for _, f := range extra {
		if *unlisted {
			fmt.Fprintf(out, "%s %s\n|%s\n\n", f.file, f.rule, f.code)
			continue
		}
		fmt.Fprintf(out, "%s:%s: %s: %s\n\t%s\n", f.file, f.line, f.rule, f.details, f.code)
	}
	for _, e := range stale {
		fmt.Fprintf(out, "%s:%d: gosec no longer finds this: %s %s\n\t%s\n", *list, e.at, e.file, e.rule, e.code)
	}
	fmt.Fprintf(out, "gosec: %d findings in %d files, %d on the list, %d not, %d entries are stale\n", len(found), files,
		len(found)-len(extra), len(extra), len(stale))
	if len(extra)+len(stale) > 0 {
		return errFailed
	}
	return nil
}

// install installs the pinned version into a directory, and returns the name of the program. It tries three times, for
// the network may fail for a moment.
func install(ctx context.Context, dir string) (string, error) {
	var failed error
	for try := range 3 {
		cmd := exec.CommandContext(ctx, "go", "install", tool)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOWORK=off", "GOOS=", "GOARCH=")
		output, err := cmd.CombinedOutput()
		if err == nil {
			return filepath.Join(dir, "gosec"+executable()), nil
		}
		failed = fmt.Errorf("%s could not be installed: %w\n%s", tool, err, output)
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(time.Duration(try+1) * 10 * time.Second):
		}
	}
	return "", failed
}

func executable() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}

// finding is one of gosec's.
type finding struct {
	file, rule    string // the file relative to the root, with slashes
	code          string // the line, or the first one of several, without its indentation
	line, details string
}

// scanner runs gosec.
type scanner struct{ program string }

// repository returns what gosec finds in all modules below a directory, and how many files it read.
func (s *scanner) repository(ctx context.Context, root string) (found []finding, files int, err error) {
	modules, err := modules(root)
	if err != nil {
		return nil, 0, err
	}
	var mu sync.Mutex
	var errs []error
	var all sync.WaitGroup
	next := make(chan string)
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for module := range next {
				of, n, err := s.module(ctx, root, module)
				mu.Lock()
				found, files, errs = append(found, of...), files+n, append(errs, err)
				mu.Unlock()
			}
		})
	}
	for _, module := range modules {
		next <- module
	}
	close(next)
	all.Wait()
	slices.SortStableFunc(found, func(a, b finding) int {
		return strings.Compare(a.file+"\x00"+a.rule, b.file+"\x00"+b.rule)
	})
	if len(modules) == 0 {
		errs = append(errs, errors.New("there is no module"))
	}
	return found, files, errors.Join(errs...)
}

// modules returns the directories with a go.mod.
func modules(root string) (dirs []string, err error) {
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") ||
			d.Name() == "testdata" || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.Name() == "go.mod":
			dirs = append(dirs, filepath.Dir(name))
		}
		return nil
	})
	return dirs, err
}

// listing is what `go list` says of a package.
type listing struct {
	Dir               string
	GoFiles, CgoFiles []string
}

// report is what gosec writes.
type report struct {
	Errors map[string][]struct {
		Line  int
		Error string
	} `json:"Golang errors"`
	Issues []struct {
		Rule    string `json:"rule_id"`
		Details string `json:"details"`
		File    string `json:"file"`
		Line    string `json:"line"`
	}
	Stats struct{ Files int }
}

// unread is what gosec says, and does not count as an error, if it could not analyse a package.
var unread = regexp.MustCompile(`(?m)^.*(?:Panic when running SSA|Error building the SSA|Error running analyzer|` +
	`Rule error|Skipping: ).*$`)

// module returns what gosec finds in the packages of a module, and how many files it read: all that are not tests, and
// that no program wrote.
func (s *scanner) module(ctx context.Context, root, dir string) (found []finding, files int, err error) {
	output, err := command(ctx, dir, "go", "list", "-json=Dir,GoFiles,CgoFiles", "./...")
	if err != nil {
		return nil, 0, fmt.Errorf("%s: go list: %w\n%s", dir, err, output)
	}
	// -no-fail: findings are no failure of the program here.
	args := []string{"-fmt=json", "-no-fail", "-nosec", "-exclude-generated", "-concurrency=1"}
	options := len(args)
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var l listing
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, 0, fmt.Errorf("%s: go list: %w", dir, err)
		}
		n := 0
		for _, name := range slices.Concat(l.GoFiles, l.CgoFiles) {
			tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(l.Dir, name), nil, parser.ParseComments)
			if err != nil {
				return nil, 0, err
			}
			if !ast.IsGenerated(tree) {
				n++
			}
		}
		if files += n; n > 0 {
			args = append(args, l.Dir)
		}
	}
	if len(args) == options {
		return nil, 0, nil
	}
	output, log, err := commandLog(ctx, dir, s.program, args...)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w\n%s", dir, err, log)
	}
	if said := unread.FindAllString(log, -1); said != nil {
		return nil, 0, fmt.Errorf("%s: gosec could not analyse all:\n%s", dir, strings.Join(said, "\n"))
	}
	var r report
	if err := json.Unmarshal(output, &r); err != nil {
		return nil, 0, fmt.Errorf("%s: the report: %w", dir, err)
	}
	if len(r.Errors) > 0 {
		return nil, 0, fmt.Errorf("%s: gosec could not read all: %v", dir, r.Errors)
	}
	if r.Stats.Files != files {
		return nil, 0, fmt.Errorf("%s: gosec read %d files of %d", dir, r.Stats.Files, files)
	}
	for _, i := range r.Issues {
		file, err := filepath.Rel(root, i.File)
		if err != nil {
			return nil, 0, err
		}
		code, err := lineOf(i.File, i.Line)
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %s: %w", file, i.Rule, err)
		}
		found = append(found, finding{filepath.ToSlash(file), i.Rule, code, i.Line, i.Details})
	}
	return found, files, nil
}

// lineOf returns a line of a file. lines is its number, or those of several ("12-14").
func lineOf(file, lines string) (string, error) {
	first, _, _ := strings.Cut(lines, "-")
	n, err := strconv.Atoi(first)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	all := strings.Split(string(text), "\n")
	if n < 1 || n > len(all) {
		return "", fmt.Errorf("there is no line %d", n)
	}
	return strings.TrimSpace(all[n-1]), nil
}

func command(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	output, log, err := commandLog(ctx, dir, name, args...)
	if err != nil {
		return []byte(log), err
	}
	return output, nil
}

func commandLog(ctx context.Context, dir, name string, args ...string) (output []byte, log string, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	// Without GOSECGOVERSION gosec asks the go command for the version of the module at each loop, return statement and
	// unary expression, which takes minutes for a package.
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOSECGOVERSION="+runtime.Version())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	return stdout.Bytes(), stderr.String(), err
}

// planted has a mistake for each way in which gosec finds some: a call, an import, and a conversion, for which it
// builds another form of the code. A comment asks to hide the first one.
const planted = `package planted

import "crypto/md5"

func sum(b []byte) [16]byte {
	return md5.Sum(b) // #nosec
}

func narrow(n int64) int8 {
	return int8(n)
}
`

// control fails unless gosec finds what is planted.
func (s *scanner) control(ctx context.Context, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{"go.mod": "module planted\n\ngo 1.26\n", "planted.go": planted} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	found, _, err := s.repository(ctx, dir)
	if err != nil {
		return err
	}
	extra, _ := compare(found, nil)
	for _, want := range []finding{{rule: "G401", code: "return md5.Sum(b) // #nosec"},
		{rule: "G501", code: `import "crypto/md5"`}, {rule: "G115", code: "return int8(n)"}} {
		if !slices.ContainsFunc(extra, func(f finding) bool { return f.rule == want.rule && f.code == want.code }) {
			return fmt.Errorf("gosec does not find the planted %s: %s", want.rule, want.code)
		}
	}
	return nil
}

// exception is a finding that is no mistake.
type exception struct {
	at               int // the line of the list
	file, rule, code string
	reason           string
}

// parse reads the list.
func parse(text string) (list []exception, err error) {
	begun := 0 // how many at the end of the list are of the entry that is read
	end := func() error {
		for i := len(list) - begun; i < len(list); i++ {
			if e := &list[i]; e.code == "" || e.reason == "" {
				return fmt.Errorf("line %d: it lacks its code or its reason", e.at)
			}
		}
		begun = 0
		return nil
	}
	for i, line := range strings.Split(text, "\n") {
		code, isCode := strings.CutPrefix(line, "|")
		switch {
		case strings.HasPrefix(line, "#"):
		case strings.TrimSpace(line) == "":
			if err := end(); err != nil {
				return nil, err
			}
		case begun == 0:
			words := strings.Fields(line)
			if len(words) != 2 || isCode || line != strings.TrimSpace(line) {
				return nil, fmt.Errorf("line %d: an entry begins with a file and a rule", i+1)
			}
			list, begun = append(list, exception{at: i + 1, file: words[0], rule: words[1]}), 1
		case isCode && list[len(list)-1].reason == "":
			if last := list[len(list)-1]; last.code != "" {
				list, begun = append(list, exception{at: last.at, file: last.file, rule: last.rule}), begun+1
			}
			list[len(list)-1].code = strings.TrimSpace(code)
		case strings.HasPrefix(line, "  ") && list[len(list)-1].code != "":
			for i := len(list) - begun; i < len(list); i++ {
				list[i].reason = strings.TrimSpace(list[i].reason + " " + strings.TrimSpace(line))
			}
		default:
			return nil, fmt.Errorf("line %d is out of place", i+1)
		}
	}
	return list, end()
}

// compare returns the findings without an entry, and the entries without a finding. A line that is found twice needs
// two entries.
func compare(found []finding, listed []exception) (extra []finding, stale []exception) {
	stale = slices.Clone(listed)
	for _, f := range found {
		i := slices.IndexFunc(stale, func(e exception) bool {
			return e.file == f.file && e.rule == f.rule && e.code == f.code
		})
		if i < 0 {
			extra = append(extra, f)
			continue
		}
		stale = slices.Delete(stale, i, i+1)
	}
	return extra, stale
}
