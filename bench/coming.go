package main

// Three rows of the table are not measured yet. Each is to be a subject in subjects, beside what it is compared with:
//
//   - a prepared question: in benchCheck, a side beside "latchkey" for 10,000 grants, and
//     b.time("A prepared question, 10,000 grants", …, atMost(15));
//   - a prepared counter: in benchCount, a side, and b.time("Count, by a prepared counter", …, atMost(10));
//   - stateless tokens: a file stateless.go with a subject "stateless" that uses latchkeyMaker with
//     Narrowing.Stateless, verifies each text once by a Manager that has not seen it, and compares the sum with
//     golang-jwt's sign and parse: b.faster("Stateless, mint and first open, client and end only", …, atLeast(12)), and
//     for typical rows and forced values atLeast(4).
