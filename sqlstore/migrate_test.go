package sqlstore

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMigrationFiles(t *testing.T) {
	for _, dia := range []*dialect{&sqlite, &postgres, &mysql} {
		steps, err := migrationSteps(dia)
		require.NoError(t, err)
		require.NotEmpty(t, steps)
		var tables []string
		for _, step := range steps {
			statements := splitStatements(step.text)
			last := strings.TrimSpace(sqlComment.ReplaceAllString(statements[len(statements)-1], ""))
			record := fmt.Sprintf("INSERT INTO latchkey_schema (version, name) VALUES (%d, '%s')", step.version, step.name)
			if step.version > 1 {
				record = fmt.Sprintf("INSERT INTO latchkey_migrations (version, name, oldest) VALUES (%d, '%s', ", step.version,
					step.name)
			}
			require.True(t, strings.HasPrefix(last, record), "a migration records itself, last: %s", last)
			tables = append(tables, createdTables(step.text)...)
			for _, statement := range statements {
				require.NotContains(t, statement, "?", "it is run as it is")
			}
		}
		for _, table := range tables {
			require.True(t, strings.HasPrefix(table, "latchkey_"), table)
		}
		require.Len(t, createdTables(steps[0].text), 18)
		require.Subset(t, tables, ownedTables)
		lite, err := migrationSteps(&sqlite)
		require.NoError(t, err)
		require.Equal(t, createdTables(lite[0].text), createdTables(steps[0].text), "one schema")
	}
}
