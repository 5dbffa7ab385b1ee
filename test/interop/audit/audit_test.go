package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

const token = "a key that may read"

// files are the resources of a log by path; a test edits its own copy.
type files map[string][]byte

func loadFixture(t *testing.T) files {
	t.Helper()
	all := files{}
	err := filepath.WalkDir(fixtureFolder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(fixtureFolder, path)
		all[filepath.ToSlash(name)] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// serve answers as Annals does: at INTERFACE.md's paths, with the API key only, and a partial tile as the beginning
// of a wider one. The newest checkpoint is the one in files; receipts are the ones for its size.
func serve(t *testing.T, all files) *Server {
	t.Helper()
	size := bytes.Split(all["checkpoint"], []byte("\n"))[1]
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, path string) {
		if data, found := all[path]; found {
			w.Write(data)
			return
		}
		http.Error(w, "not found", http.StatusNotFound)
	}
	mux.HandleFunc("GET /v1/organizations/org_acme/log/{path...}", func(w http.ResponseWriter, r *http.Request) {
		path := r.PathValue("path")
		if path == "consistency" {
			path = "consistency/" + r.FormValue("from") + "-" + r.FormValue("to")
		}
		if all[path] == nil {
			all.answerPartial(w, path)
			return
		}
		answer(w, path)
	})
	mux.HandleFunc("GET /v1/organizations/org_acme/events/{id}/proof", func(w http.ResponseWriter, r *http.Request) {
		answer(w, fmt.Sprintf("proofs/%s/%s", size, r.PathValue("id")))
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "who are you", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return &Server{Prefix: server.URL + "/v1/organizations/org_acme/log", Token: token, Client: server.Client()}
}

// answerPartial cuts a partial tile out of a wider one, full or not.
func (all files) answerPartial(w http.ResponseWriter, path string) {
	whole, width, _ := strings.Cut(path, ".p/")
	for wider, data := range all {
		var n int
		if _, err := fmt.Sscan(width, &n); err != nil || (wider != whole && !strings.HasPrefix(wider, whole+".p/")) {
			continue
		}
		if strings.HasPrefix(path, "tile/entries/") {
			data = firstRecords(data, n)
		} else {
			data = data[:min(len(data), n*tlog.HashSize)]
		}
		w.Write(data)
		return
	}
	http.Error(w, "not found", http.StatusNotFound)
}

func firstRecords(bundle []byte, count int) []byte {
	end := 0
	for range count {
		if end+2 > len(bundle) {
			return nil
		}
		end += 2 + int(bundle[end])<<8 + int(bundle[end+1])
	}
	return bundle[:end]
}

// audit checks a log once, after the checkpoint of an earlier size was seen. Only the receipts of leaves 0, 256, 511
// and 599 are in the fixture: two samples ask for the first and the last.
func audit(t *testing.T, all files, options Options, last string) (*Report, error) {
	t.Helper()
	auditor := &Auditor{Server: serve(t, all), Keys: fixtureKeys(t)}
	if last != "" {
		if err := auditor.Resume(all["checkpoints/"+last]); err != nil {
			t.Fatal(err)
		}
	}
	return auditor.Audit(context.Background(), options)
}

func TestAuditOfTheFixture(t *testing.T) {
	report, err := audit(t, loadFixture(t), Options{}, "300")
	if err != nil {
		t.Fatal(err)
	}
	want := Report{
		Origin: "annals.example/org_acme/1", Size: 600, Witnesses: []string{"witness.example/w1"},
		Tiles: 4, Bundles: 3, Records: 600, Inclusions: 600, Consistency: 1,
	}
	if fmt.Sprint(*report) != fmt.Sprint(want) {
		t.Errorf("got %+v", *report)
	}
}

func TestAuditWithReceipts(t *testing.T) {
	report, err := audit(t, loadFixture(t), Options{Samples: 2, Receipts: true}, "")
	if err != nil {
		t.Fatal(err)
	}
	if report.Receipts != 2 || report.Inclusions != 2 {
		t.Errorf("got %+v", *report)
	}
}

// Successive checkpoints: the log grows between two audits by one auditor.
func TestAuditOfALogThatGrows(t *testing.T) {
	all := loadFixture(t)
	auditor := &Auditor{Keys: fixtureKeys(t)}
	for i, size := range []string{"1", "300", "300", "600"} {
		all["checkpoint"] = all["checkpoints/"+size]
		auditor.Server = serve(t, all)
		report, err := auditor.Audit(context.Background(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{0, 1, 0, 1}[i]; report.Consistency != want || fmt.Sprint(report.Size) != size {
			t.Errorf("round %d: %+v", i, *report)
		}
	}
}

func edit(path string, change func([]byte) []byte) func(files) {
	return func(all files) { all[path] = change(bytes.Clone(all[path])) }
}

func flip(at int) func([]byte) []byte {
	return func(data []byte) []byte { data[at] ^= 1; return data }
}

func replace(old, new string) func([]byte) []byte {
	return func(data []byte) []byte { return bytes.Replace(data, []byte(old), []byte(new), 1) }
}

func TestTamperingIsFound(t *testing.T) {
	for name, test := range map[string]struct {
		tamper func(files)
		where  string
		what   string
	}{
		"an edited record":             {edit("tile/entries/001", flip(20)), "tile/entries/001", "leaf 256 does not hash"},
		"swapped records":              {edit("tile/entries/000", func(d []byte) []byte { return append(append(bytes.Clone(d[47:94]), d[:47]...), d[94:]...) }), "tile/entries/000", "leaf 0 does not hash"},
		"a record cut short":           {edit("tile/entries/000", func(d []byte) []byte { return d[:len(d)-1] }), "tile/entries/000", "cut short"},
		"a record too few":             {edit("tile/entries/000", func(d []byte) []byte { return d[:len(d)-47] }), "tile/entries/000", "255 records of 256"},
		"a record too many":            {edit("tile/entries/000", func(d []byte) []byte { return append(d, 0, 0) }), "tile/entries/000", "after its 256 records"},
		"an emptied record":            {edit("tile/entries/000", func(d []byte) []byte { return append([]byte{0, 0}, d[47:]...) }), "tile/entries/000", "leaf 0 does not hash"},
		"a missing bundle":             {func(all files) { delete(all, "tile/entries/001") }, "tile/entries/001", "not there"},
		"an edited leaf":               {edit("tile/0/000", flip(100)), "tile/entries/000", "leaf 3 does not hash"},
		"an edited inner tile":         {edit("tile/1/000.p/2", flip(0)), "tile/1/000.p/2", "not the tile of these records"},
		"a truncated tile":             {edit("tile/0/001", func(d []byte) []byte { return d[:8160] }), "tile/0/001", "8160 bytes for 256 hashes"},
		"a missing tile":               {func(all files) { delete(all, "tile/1/000.p/2") }, "tile/1/000.p/2", "not there"},
		"a record and its leaf edited": {rewriteLeaf, "checkpoint", "do not hash to its root"},
		"a forged root":                {edit("checkpoint", replace("=\n\n", "A=\n\n")), "checkpoint", "not signed"},
		"a forged size":                {edit("checkpoint", replace("\n600\n", "\n599\n")), "checkpoint", "not signed"},
		"a checkpoint without keys":    {edit("checkpoint", dropLines("annals.example")), "checkpoint", "signed by witnesses and not by the log"},
		"a checkpoint of a stranger":   {edit("checkpoint", dropLines("—")), "checkpoint", "not signed"},
		"a log that went back":         {func(all files) { all["checkpoint"] = all["checkpoints/1"] }, "checkpoint", "went back from 300 leaves to 1"},
		"a false consistency proof":    {edit("consistency/300-600", replace(`"proof":["`, `"proof":["AAAA`)), "consistency?from=300&to=600", "hash that is none"},
		"no consistency proof":         {edit("consistency/300-600", func([]byte) []byte { return []byte(`{"from":300,"to":600,"proof":[]}`) }), "consistency", "does not hold"},
		"a proof of other sizes":       {edit("consistency/300-600", replace("300", "299")), "consistency?from=300&to=600", "answers for 299 to 600"},
		"consistency that is no JSON":  {edit("consistency/300-600", func([]byte) []byte { return []byte("yes") }), "consistency?from=300&to=600", "is no {from, to, proof}"},
		"another event's receipt":      {func(all files) { all[receiptPath(0)] = all[receiptPath(256)] }, "events/" + eventID(0) + "/proof", "does not prove its record"},
		"a receipt that is none":       {func(all files) { all[receiptPath(0)] = []byte("trust me") }, "events/" + eventID(0) + "/proof", "no tlog-proof"},
		"a missing receipt":            {func(all files) { delete(all, receiptPath(599)) }, "events/" + eventID(599) + "/proof", "not there"},
	} {
		t.Run(name, func(t *testing.T) {
			all := maps.Clone(loadFixture(t))
			test.tamper(all)
			report, err := audit(t, all, Options{Samples: 2, Receipts: true}, "300")
			var found *Mismatch
			if !errors.As(err, &found) {
				t.Fatalf("got %+v, %v", report, err)
			}
			if found.Where != test.where || !strings.Contains(found.What, test.what) {
				t.Errorf("got %q: %q", found.Where, found.What)
			}
		})
	}
}

func eventID(index int) string     { return fmt.Sprintf("evt_%026d", index) }
func receiptPath(index int) string { return "proofs/600/" + eventID(index) }

// rewriteLeaf edits a record and the leaf with it, so that only the root tells.
func rewriteLeaf(all files) {
	edit("tile/entries/002.p/88", replace(eventID(599), eventID(999)))(all)
	records, err := parseBundle("", all["tile/entries/002.p/88"], 88)
	if err != nil {
		panic(err)
	}
	leaf := tlog.RecordHash(records[87])
	edit("tile/0/002.p/88", func(d []byte) []byte { return append(d[:87*32], leaf[:]...) })(all)
}

func dropLines(holding string) func([]byte) []byte {
	return func(data []byte) []byte {
		var kept []string
		for _, line := range strings.SplitAfter(string(data), "\n") {
			if !strings.HasPrefix(line, "—") || !strings.Contains(line, holding) {
				kept = append(kept, line)
			}
		}
		return []byte(strings.Join(kept, ""))
	}
}

// A tree that does not begin with the one seen before: other records under the same keys.
func TestAForkIsFound(t *testing.T) {
	all := loadFixture(t)
	auditor := &Auditor{Server: serve(t, all), Keys: fixtureKeys(t)}
	seen := fixtureCheckpoint(t, "300")
	seen.Tree.Hash[0] ^= 1
	auditor.Last = seen
	_, err := auditor.Audit(context.Background(), Options{})
	var found *Mismatch
	if !errors.As(err, &found) || !strings.Contains(found.What, "does not begin with the one of 300") {
		t.Error(err)
	}
	same := fixtureCheckpoint(t, "600")
	same.Tree.Hash[0] ^= 1
	auditor.Last = same
	if _, err := auditor.Audit(context.Background(), Options{}); !errors.As(err, &found) || !strings.Contains(found.What, "two roots") {
		t.Error(err)
	}
}

func TestWithheldRecordsAreCountedWhereAllowed(t *testing.T) {
	all := loadFixture(t)
	edit("tile/entries/000", func(d []byte) []byte { return append([]byte{0, 0}, d[47:]...) })(all)
	report, err := audit(t, all, Options{AllowWithheld: true}, "")
	if err != nil {
		t.Fatal(err)
	}
	if report.Withheld != 1 || report.Records != 600 || report.Inclusions != 599 {
		t.Errorf("got %+v", *report)
	}
}

func TestALogThatCannotBeReadIsNoTampering(t *testing.T) {
	server := serve(t, loadFixture(t))
	server.Token = "another"
	auditor := &Auditor{Server: server, Keys: fixtureKeys(t)}
	_, err := auditor.Audit(context.Background(), Options{})
	var found *Mismatch
	if err == nil || errors.As(err, &found) || !strings.Contains(err.Error(), "401") {
		t.Error(err)
	}
}

func TestSamplesHaveBothEnds(t *testing.T) {
	for _, test := range []struct {
		size  int64
		count int
		want  string
	}{{0, 0, "[]"}, {0, 5, "[]"}, {1, 5, "[0]"}, {3, 0, "[0 1 2]"}, {10, 1, "[9]"}, {10, 4, "[0 3 6 9]"}, {600, 2, "[0 599]"}} {
		if got := fmt.Sprint(samples(test.size, test.count)); got != test.want {
			t.Errorf("%d of %d: %s", test.count, test.size, got)
		}
	}
}

func TestTilePaths(t *testing.T) {
	for _, test := range []struct {
		level int
		index int64
		width int
		want  string
		entry string
	}{
		{0, 0, 256, "tile/0/000", "tile/entries/000"},
		{0, 1234067, 8, "tile/0/x001/x234/067.p/8", "tile/entries/x001/x234/067.p/8"},
		{2, 999, 1, "tile/2/999.p/1", ""},
	} {
		tile := tlog.Tile{H: tileHeight, L: test.level, N: test.index, W: test.width}
		if got := tilePath(tile); got != test.want {
			t.Error(got)
		}
		if got := bundlePath(tile); test.entry != "" && got != test.entry {
			t.Error(got)
		}
	}
}

func TestMalformedKeys(t *testing.T) {
	good, witness := fixtureLines(t, "keys")[0], fixtureLines(t, "witness-keys")[0]
	for name, keys := range map[string][2][]string{
		"none":                   {nil, nil},
		"a witness as a log":     {{witness}, nil},
		"a log as a witness":     {{good}, {good}},
		"another id":             {{strings.Replace(good, "+", "+0", 1)}, nil},
		"a witness's other id":   {{good}, {strings.Replace(witness, "w1+", "w2+", 1)}},
		"a witness without plus": {{good}, {"witness"}},
		"two logs":               {{good, "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"}, nil},
	} {
		if _, err := ParseKeys(keys[0], keys[1]); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
