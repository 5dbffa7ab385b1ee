package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const folder = "../../fixtures/log"

// judge runs the program against the fixture, served at the prefix of a log without events.
func judge(t *testing.T, serve http.Handler, arguments ...string) (int, string) {
	t.Helper()
	server := httptest.NewServer(http.StripPrefix("/v1/anchor", serve))
	t.Cleanup(server.Close)
	var output bytes.Buffer
	keys, err := os.ReadFile(filepath.Join(folder, "keys"))
	if err != nil {
		t.Fatal(err)
	}
	key, _, _ := strings.Cut(string(keys), "\n")
	all := append([]string{"-url", server.URL + "/v1/anchor/", "-key", key}, arguments...)
	return run(context.Background(), all, &output, &output), output.String()
}

func TestRun(t *testing.T) {
	log := http.FileServer(http.Dir(folder))
	state := filepath.Join(t.TempDir(), "checkpoint")
	code, output := judge(t, log, "-state", state, "-rounds", "2", "-interval", "1ms", "-samples", "5")
	if code != 0 || strings.Count(output, "600 leaves; 4 tiles, 3 bundles, 600 records (0 withheld), 5 inclusion proofs") != 2 {
		t.Error(code, output)
	}
	saved, err := os.ReadFile(state)
	if err != nil || !strings.HasPrefix(string(saved), "annals.example/org_acme/1\n600\n") {
		t.Error(err, string(saved))
	}
	if code, output := judge(t, log, "-state", state); code != 0 {
		t.Error(code, output)
	}
}

func TestExitCodes(t *testing.T) {
	log := http.FileServer(http.Dir(folder))
	forged := filepath.Join(t.TempDir(), "forged")
	if err := os.WriteFile(forged, []byte("a\n1\nb\n\n— a AAAAAAA=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	busy := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "", http.StatusServiceUnavailable) })
	for name, test := range map[string]struct {
		serve     http.Handler
		arguments []string
		code      int
	}{
		"nothing there":              {http.NotFoundHandler(), nil, exitTampered},
		"a state nobody signed":      {log, []string{"-state", forged}, exitTampered},
		"a state that is a folder":   {log, []string{"-state", t.TempDir()}, exitFailed},
		"a server that is busy":      {busy, nil, exitUnreachable},
		"an unknown flag":            {log, []string{"-what"}, exitUsage},
		"an argument too many":       {log, []string{"what"}, exitUsage},
		"a witness key that is none": {log, []string{"-witness", "what"}, exitUsage},
		"no rounds":                  {log, []string{"-rounds", "0"}, exitUsage},
	} {
		if code, output := judge(t, test.serve, test.arguments...); code != test.code {
			t.Errorf("%s: exit %d: %s", name, code, output)
		}
	}
}
