package audit

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// A Receipt is a C2SP tlog-proof@v1 whose checkpoint was opened.
type Receipt struct {
	Index      int64
	Proof      tlog.RecordProof
	Checkpoint *Checkpoint
	Extra      []byte // opaque to C2SP; Annals has its anchor proof there
}

// OpenReceipt reads a receipt and checks that it proves a record with this hash.
func (k *Keys) OpenReceipt(where string, text []byte, leaf tlog.Hash) (*Receipt, error) {
	head, signed, found := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || lines[0] != "c2sp.org/tlog-proof@v1" {
		return nil, mismatch(where, "is no tlog-proof@v1")
	}
	lines = lines[1:]
	receipt := &Receipt{Proof: tlog.RecordProof{}}
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		if receipt.Extra = decoded(strings.TrimPrefix(lines[0], "extra ")); receipt.Extra == nil {
			return nil, mismatch(where, "has extra data that is no base64")
		}
		lines = lines[1:]
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "index ") {
		return nil, mismatch(where, "has no index")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "index "), 10, 64)
	if err != nil {
		return nil, mismatch(where, "has an index that is none")
	}
	receipt.Index = index
	for _, line := range lines[1:] {
		hash, err := parseHash(line)
		if err != nil {
			return nil, mismatch(where, "holds a hash that is none")
		}
		receipt.Proof = append(receipt.Proof, hash)
	}
	if receipt.Checkpoint, err = k.Open(where, signed); err != nil {
		return nil, err
	}
	tree := receipt.Checkpoint.Tree
	if index < 0 || index >= tree.N {
		return nil, mismatch(where, "is for leaf %d of %d", index, tree.N)
	}
	if err := tlog.CheckRecord(receipt.Proof, tree.N, tree.Hash, index, leaf); err != nil {
		return nil, mismatch(where, "does not prove its record at leaf %d of %d", index, tree.N)
	}
	return receipt, nil
}
