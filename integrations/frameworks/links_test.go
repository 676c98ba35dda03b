package frameworks

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A program that imports one adapter links no other framework.
func TestAdaptersLinkOneFramework(t *testing.T) {
	frameworks := map[string]string{
		"chi": "github.com/go-chi/chi/", "mux": "github.com/gorilla/mux", "httprouter": "github.com/julienschmidt/httprouter",
		"gin": "github.com/gin-gonic/gin", "echo4": "github.com/labstack/echo/v4", "echo5": "github.com/labstack/echo/v5",
		"fiber": "github.com/gofiber/fiber/", "huma": "github.com/danielgtaylor/huma/",
	}
	for dir, own := range frameworks {
		out, err := exec.Command("go", "list", "-deps", "./"+dir).Output()
		require.NoError(t, err, dir)
		require.Contains(t, string(out), own)
		for _, other := range frameworks {
			require.Equal(t, other == own, strings.Contains(string(out), other), "%s and %s", dir, other)
		}
		require.NotContains(t, string(out), "testify")
	}
}
