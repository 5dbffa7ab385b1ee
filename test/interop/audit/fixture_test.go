package audit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// The log that test/interop/fixture.ts wrote with the code under test.
const fixtureFolder = "../fixtures/log"

func readFixture(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(fixtureFolder, path))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func fixtureLines(t *testing.T, path string) []string {
	return strings.Split(strings.TrimSpace(string(readFixture(t, path))), "\n")
}

func fixtureKeys(t *testing.T) *Keys {
	t.Helper()
	keys, err := ParseKeys(fixtureLines(t, "keys"), fixtureLines(t, "witness-keys"))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func fixtureCheckpoint(t *testing.T, size string) *Checkpoint {
	t.Helper()
	checkpoint, err := fixtureKeys(t).Open("checkpoint", readFixture(t, "checkpoints/"+size))
	if err != nil {
		t.Fatal(err)
	}
	return checkpoint
}

func TestCheckpoints(t *testing.T) {
	for size, want := range map[string]struct {
		n         int64
		witnesses int
	}{"1": {1, 0}, "300": {300, 1}, "600": {600, 1}} {
		checkpoint := fixtureCheckpoint(t, size)
		if checkpoint.Tree.N != want.n || len(checkpoint.Witnesses) != want.witnesses {
			t.Errorf("checkpoint %s: %d leaves, witnesses %v", size, checkpoint.Tree.N, checkpoint.Witnesses)
		}
	}
}

// After a rotation a checkpoint opens with the new key alone, and with the old one alone.
func TestRotation(t *testing.T) {
	for _, key := range fixtureLines(t, "keys") {
		keys, err := ParseKeys([]string{key}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := keys.Open("checkpoint", readFixture(t, "checkpoint")); err != nil {
			t.Error(err)
		}
	}
}

func TestReceipts(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(fixtureFolder, "proofs", "*", "*"))
	if err != nil || len(paths) != 6 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		leaf := tlog.RecordHash([]byte(`{"id":"` + filepath.Base(path) + `","v":1}`))
		receipt, err := fixtureKeys(t).OpenReceipt(path, text, leaf)
		if err != nil {
			t.Error(err)
			continue
		}
		for i := range receipt.Proof {
			receipt.Proof[i][i] ^= 1
			tree := receipt.Checkpoint.Tree
			if tlog.CheckRecord(receipt.Proof, tree.N, tree.Hash, receipt.Index, leaf) == nil {
				t.Errorf("%s: holds with hash %d turned", path, i)
			}
			receipt.Proof[i][i] ^= 1
		}
		leaf[0] ^= 1
		if _, err := fixtureKeys(t).OpenReceipt(path, text, leaf); err == nil {
			t.Errorf("%s: proves another record", path)
		}
	}
}

func TestConsistency(t *testing.T) {
	for _, sizes := range [][2]string{{"1", "300"}, {"1", "600"}, {"300", "600"}} {
		var answer struct {
			From, To int64
			Proof    []string
		}
		if err := json.Unmarshal(readFixture(t, "consistency/"+sizes[0]+"-"+sizes[1]), &answer); err != nil {
			t.Fatal(err)
		}
		proof := tlog.TreeProof{}
		for _, text := range answer.Proof {
			hash, err := parseHash(text)
			if err != nil {
				t.Fatal(err)
			}
			proof = append(proof, hash)
		}
		older, newer := fixtureCheckpoint(t, sizes[0]).Tree, fixtureCheckpoint(t, sizes[1]).Tree
		if err := tlog.CheckTree(proof, newer.N, newer.Hash, older.N, older.Hash); err != nil {
			t.Errorf("%v: %v", sizes, err)
		}
	}
}
