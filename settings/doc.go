// Package settings reads one file that says how the programs of a deployment use latchkey, so that all of them agree:
// the application, and the command latchkey that people and scripts run beside it.
//
// For most uses, call Read when the program starts, and then Options and DSN:
//
//	s, err := settings.Read("latchkey.json")
//	opts, err := s.Options()             // *latchkey.Options: keyring, prefix, roles, …
//	dsn, err := s.DSN()                  // for sql.Open, with a driver of s.Engine()
//	keys := latchkey.New(store, opts)
//
// The Options may be changed before they are given to [latchkey.New]: a program sets its Observer, Logger and whatever
// else is a function of its own.
//
// # The file
//
// The file is one JSON object. It is read strictly: members that are unknown, repeated or null are refused, with the
// line and the column. Every member but "format" and "store" may be left out; its default is then that of
// [latchkey.Options]. Paths are relative to the folder of the file.
//
//	{
//	  "format": 1,
//	  "store": {"engine": "postgres", "dsn": {"env": "LATCHKEY_DSN"}},
//	  "owner": "acme",
//	  "keyring": {"file": "/run/secrets/latchkey.key"},
//	  "prefix": "acme",
//	  "imported": ["old_[0-9a-f]{32}"],
//	  "legacy": {
//	    "split": "v1_(?P<lookup>[a-z0-9]{8})_(?P<secret>[a-z0-9]{32})",
//	    "peppers": {"2019": {"env": "OLD_PEPPER", "encoding": "base64"}}
//	  },
//	  "roles": "roles.json",
//	  "catalogue": "catalogue.json",
//	  "max_stale": "5s",
//	  "keep_revoked": "90d"
//	}
//
// docs/command.md lists every member. A duration is a text such as "90s", "12h" or "30d": see [ParseDuration].
//
// The file holds no secret. What is secret is named: by a file that holds it, or by a variable of the environment. A
// file with a key of a keyring or the password of a database in it is refused, so that it can be kept under version
// control.
//
// Errors wrap [latchkey.ErrInvalid] where the file, or what it names, has to be corrected. No error repeats a secret.
package settings
