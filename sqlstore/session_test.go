package sqlstore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// These settings cannot be set on the servers of the e2e tests.
func TestSessionSettings(t *testing.T) {
	good := settings{"sql_mode": "STRICT_TRANS_TABLES", "sql_select_limit": unlimited, "max_statement_time": "0.000000",
		"character_set_client": "utf8mb4", "character_set_connection": "utf8mb4"}
	require.NoError(t, good.refuseMySQL(true))
	for _, c := range []struct {
		name, value string
		reads       bool // refused for a reader too
	}{
		{"sql_log_bin", "OFF", false},
		{"cte_max_recursion_depth", "10", true},
		{"max_execution_time", "1", true},
		{"transaction_read_only", "ON", false},
		{"sql_mode", "EMPTY_STRING_IS_NULL,STRICT_ALL_TABLES", true},
		{"sql_mode", "", true},
		{"max_sort_length", "8", true},
	} {
		bad := settings{}
		for name, value := range good {
			bad[name] = value
		}
		bad[c.name] = c.value
		require.ErrorContains(t, bad.refuseMySQL(true), c.name+" is ")
		if err := bad.refuseMySQL(false); c.reads {
			require.ErrorContains(t, err, c.name+" is ")
		} else {
			require.NoError(t, err)
		}
	}
	good["log_bin"], good["binlog_format"] = "ON", "STATEMENT"
	require.ErrorContains(t, good.refuseMySQL(true), "binlog_format is STATEMENT")
	require.NoError(t, good.refuseMySQL(false))
	good["log_bin"] = "OFF"
	require.NoError(t, good.refuseMySQL(true))
	require.ErrorContains(t, settings{"transaction_timeout": "10"}.refuse(postgresRules, true),
		"transaction_timeout is 10")
	require.NoError(t, settings{"transaction_timeout": "0"}.refuse(postgresRules, true))
}
