package main

// test returns the command that runs tests of packages and prints what they say.
func test(pattern string, packages ...string) []string {
	return append([]string{"go", "test", "-count=1", "-v", "-timeout=30m", "-run", "^(" + pattern + ")$"}, packages...)
}

// counted finds the tests that passed, where a test prints no figure of its own.
const counted = `(?m)^--- PASS: (\w+) `

// goals are in the order of their numbers.
var goals = []goal{
	{
		target:  "Of 250,000 forged or altered credentials none is accepted.",
		control: "each text that was altered is accepted as it was",
		dir:     "e2e", command: test("TestForgedTextsAreRefused", "./judges"),
		passed: []string{"TestForgedTextsAreRefused"}, figure: `forged_test.go:\d+: (.*)`,
	},
	{
		target:  "A verification that begins after a revocation returned never succeeds, in any process, on any engine.",
		control: "processes that do not obey are found: TestNodesThatDoNotObey, TestAStaleNodeIsNotLinearizable",
		dir:     "e2e",
		command: test("TestNodesObey|TestNodesThatDoNotObey|TestRevocationIsLinearizable|TestAStaleNodeIsNotLinearizable",
			"./nodes", "./consistency"),
		passed: []string{"TestNodesObey", "TestNodesThatDoNotObey", "TestRevocationIsLinearizable",
			"TestAStaleNodeIsNotLinearizable"}, figure: counted,
	},
	{
		target:  "A process or server that is killed loses nothing that was acknowledged, and leaves no half.",
		control: "halves are found: TestWalkerSees",
		dir:     "e2e", command: test("TestSQLiteWriterIsKilled|TestEnginesServerIsKilled|TestWalkerSees", "./outages",
			"./faults"),
		passed: []string{"TestSQLiteWriterIsKilled", "TestEnginesServerIsKilled", "TestWalkerSees"},
		figure: `kill_test.go:\d+: (\d+ kills.*)`,
	},
	{
		target:  "Credits are exact: histories of many clients, with faults, are linearizable.",
		control: "a lost update is found: TestALostUpdateIsNotLinearizable",
		dir:     "e2e", command: test(
			"TestCreditsAreLinearizable|TestALostUpdateIsNotLinearizable|TestCreditsOfManyProcesses", "./consistency"),
		passed: []string{"TestCreditsAreLinearizable", "TestALostUpdateIsNotLinearizable", "TestCreditsOfManyProcesses"},
		figure: `(?:linearizable|credits)_test.go:\d+: (\d+ (?:operations|processes).*)`,
	},
	{
		target:  "Random conditions admit the same rows in memory, on each engine, and under PostgreSQL's row security.",
		control: "a condition that differs is found, in TestRowSecurityAgrees",
		dir:     "e2e", command: test("TestSameRows|TestRowSecurityAgrees", "./rows", "./judges"),
		passed: []string{"TestSameRows", "TestRowSecurityAgrees"},
		figure: `(?:rowsecurity|same_rows)_test.go:\d+: (.*\b(?:rounds|conditions)\b.*)`,
	},
	{
		target: "Each statement of each operation fails once, before and after its effect: no answer is wrong, " +
			"nothing is half.",
		control: "halves are found: TestWalkerSees",
		dir:     "e2e", command: test(
			"TestEnginesEveryStatementFails|TestWalkerSees|TestSQLiteEveryStatementFails", "./faults", "./sqlite"),
		passed: []string{"TestEnginesEveryStatementFails", "TestSQLiteEveryStatementFails", "TestWalkerSees"},
		figure: `(?:faults|statements)_test.go:\d+: (\d+ faults.*)`,
	},
	{
		target:  "No sequence of operations gives a caller more than its maker had.",
		control: "every guard of these tests is removed in turn by make mutants",
		command: test("TestNoEscalationByAnySequence|TestPolicyMatchesModel|TestChainsNeverWiden|TestWithinIsSound", "."),
		passed: []string{"TestNoEscalationByAnySequence", "TestPolicyMatchesModel", "TestChainsNeverWiden",
			"TestWithinIsSound"},
		figure: `(?:account_escalation_test.go:\d+: (\d+ steps)|policy\w*_test.go:\d+: (\d+ (?:pairs|questions).*))`,
	},
	{
		target:  "An id of another tenant is worth as much as one that never was, in every operation, route and statement.",
		control: "the same calls by the owner succeed, in each test",
		command: test("TestNothingCrossesOwners|TestTwoOwnersMayHaveTheSameID|TestForeignRecordsAreNone|TestTenantsByRequest",
			".", "./httpadapter/api", "./internal/surfacetest"),
		passed: []string{"TestNothingCrossesOwners", "TestForeignRecordsAreNone", "TestTenantsByRequest"}, figure: counted,
	},
	{
		target:  "Of 1,000 secrets none is in a dump, file, write-ahead log, log, reply or heap, in any form.",
		control: "one that is planted is found in each place, in each form",
		dir:     "e2e", command: test("TestDumpsHoldNoSecret|TestHeapHoldsNoSecret", "./judges"),
		passed: []string{"TestDumpsHoldNoSecret", "TestHeapHoldsNoSecret"}, figure: `canaries_test.go:\d+: (.*)`,
	},
	{
		target:  "No input of a fuzz target panics or contradicts its model.",
		control: "a target that is missing, or not in the list, fails the run",
		command: []string{"env", "FUZZTIME=2000x", "scripts/fuzz"},
		figure:  `(?m)^(\d+ fuzz targets.*)$`,
	},
	{
		target:  "A signed request that differs in one byte, or is sent twice, is refused.",
		control: "each request passes once as it was signed, in each test",
		command: test("TestEveryByteIsSigned|TestNothingElseIsSignedAlike|TestReplay|TestReplayAtOnce|TestSigningVectors|"+
			"TestNoByteOfASignedRequestChanges|TestNoSignaturePassesTwice", "./httpadapter/apperate"),
		passed: []string{"TestEveryByteIsSigned", "TestNothingElseIsSignedAlike", "TestReplay", "TestReplayAtOnce",
			"TestNoByteOfASignedRequestChanges", "TestNoSignaturePassesTwice"},
		figure: `sign_laws_test.go:\d+: (\d+ .*)`,
	},
	{
		target:  "Vectors that others made are answered as they say, with lists of exceptions that may only shrink.",
		control: "each judge has cases to refuse and cases to accept, and both are counted",
		dir:     "e2e",
		command: test("TestWycheproof|TestKeyringIsMadeOfThem|TestJSON|TestJSONOfTwoMeanings|TestURLs|"+
			"TestInternationalHosts|TestPublicSuffixes|TestNaughtyStrings.*", "./judges"),
		passed: []string{"TestWycheproof", "TestJSON", "TestURLs", "TestInternationalHosts", "TestPublicSuffixes",
			"TestNaughtyStringsThroughTheAPI"},
		figure: `(?:crypto|json|naughty|url)_test.go:\d+: (\d+ [^\n]{0,110})`,
	},
	{
		target: "Under mixed traffic a server grows by no goroutine or file, and by less than 5 % of heap, gives " +
			"no wrong answer, and reads nothing for a flood of junk.",
		control: "TestASoakSeesLeaks: a server that loses memory, goroutines and files has grown; unknown tokens cost reads",
		dir:     "e2e", command: test("TestSoak|TestASoakSeesLeaks", "./soak"),
		passed: []string{"TestSoak", "TestASoakSeesLeaks"},
		figure: `soak_test.go:\d+: ((?:warm|end|\d+ texts|\d+ requests|use)\b.*)`,
	},
	{
		target:  "sqlmap, slow clients and raw requests behind real proxies find nothing.",
		control: "sqlmap finds the hole that was planted, and the proxies pass what is allowed",
		dir:     "e2e", command: test(
			"TestSQLMapFindsNothing|TestSlowRequestsEnd|TestTargets|TestTimeTellsNothing", "./judges", "./proxies"),
		passed: []string{"TestSQLMapFindsNothing", "TestSlowRequestsEnd", "TestTargets", "TestTimeTellsNothing"},
		figure: `(?:attacks|timing|corpus)_test.go:\d+: (.*)`,
	},
	{
		target:  "A guard that is removed turns a named test red.",
		control: "the run itself: a mutant that survives fails it",
		command: []string{"go", "run", "./scripts/mutants", "-sample", "60"},
		figure:  `(?m)^(a sample of .* mutants|\d+ runs of tests pass .*|\d+ passed, \d+ failed)`,
	},
}
