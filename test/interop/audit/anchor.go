package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"regexp"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// The anchor log commits to the logs of all organizations. This file reads docs/formats.md, and no code of Annals.

var anchorOrigin = regexp.MustCompile(`/anchor(\.[1-9][0-9]*)?$`)

// isAnchor says whether these are the keys of an anchor log.
func (k *Keys) isAnchor() bool { return anchorOrigin.MatchString(k.Log[0].Name()) }

const entryTime = "2006-01-02T15:04:05.000Z"

// parseEntry reads an entry of the anchor log: its name, a time, and the root of the tree of logs.
func parseEntry(where string, entry []byte) (at time.Time, root tlog.Hash, err error) {
	lines := bytes.Split(entry, []byte("\n"))
	if len(lines) != 4 || string(lines[0]) != "annals-anchor/v1" || len(lines[3]) != 0 {
		return at, root, mismatch(where, "is no entry of an anchor log")
	}
	if at, err = time.Parse(entryTime, string(lines[1])); err != nil || at.Format(entryTime) != string(lines[1]) {
		return at, root, mismatch(where, "has a time that is none")
	}
	if root, err = parseHash(string(lines[2])); err != nil {
		return at, root, mismatch(where, "has a root that is none")
	}
	return at, root, nil
}

// checkEntries reads every entry of an anchor log: they are a minute apart at least, in the order of their times.
func checkEntries(records [][]byte) error {
	var last time.Time
	for index, entry := range records {
		at, _, err := parseEntry("tile/entries", entry)
		if err != nil {
			return err
		}
		if index > 0 && at.Sub(last) < time.Minute {
			return mismatch("tile/entries", "entry %d comes %s after the one before", index, at.Sub(last))
		}
		last = at
	}
	return nil
}

// An Anchor is the proof that a tree of one organization's log is in the anchor log, as it was found to hold.
type Anchor struct {
	Tree       tlog.Tree // of the organization's log
	At         time.Time
	Checkpoint *Checkpoint // of the anchor log
}

type anchorJSON struct {
	Anchor *struct {
		LogID       string
		Size        int64
		Root        string
		Salt        string
		LogsProof   []string
		Entry       string
		Index       int64
		Proof       []string
		Checkpoint  string
		RecordProof []string
	}
}

// OpenAnchor checks what the extra data of a receipt has of the anchor log: the record is in a tree, that tree is in an
// entry, and the entry is in the anchor log. It is nil where there is no extra data.
func (k *Keys) OpenAnchor(where string, extra []byte, index int64, leaf tlog.Hash) (*Anchor, error) {
	if extra == nil {
		return nil, nil
	}
	var read anchorJSON
	if json.Unmarshal(extra, &read) != nil || read.Anchor == nil {
		return nil, mismatch(where, "has extra data that is no anchor proof")
	}
	given := read.Anchor
	logID, salt := decoded(given.LogID), decoded(given.Salt)
	root, err := parseHash(given.Root)
	if err != nil || len(logID) != 16 || len(salt) != 16 || given.Size < 0 {
		return nil, mismatch(where, "has an anchor without a log")
	}
	logsProof, proof, recordProof := hashes(given.LogsProof), hashes(given.Proof), hashes(given.RecordProof)
	if logsProof == nil || proof == nil || recordProof == nil {
		return nil, mismatch(where, "has an anchor with a hash that is none")
	}
	anchor := &Anchor{Tree: tlog.Tree{N: given.Size, Hash: root}}
	if index >= given.Size || tlog.CheckRecord(recordProof, given.Size, root, index, leaf) != nil {
		return nil, mismatch(where, "has an anchored tree in which the record is not")
	}
	at, logsRoot, err := parseEntry(where, []byte(given.Entry))
	if err != nil {
		return nil, err
	}
	anchor.At = at
	if len(logsProof) < 16 || len(logsProof) > 128 || wayUp(logID, logLeaf(salt, logID, anchor.Tree), logsProof) != logsRoot {
		return nil, mismatch(where, "has a log that is not in the entry of its anchor")
	}
	if anchor.Checkpoint, err = k.Open(where, []byte(given.Checkpoint)); err != nil {
		return nil, err
	}
	tree := anchor.Checkpoint.Tree
	if given.Index < 0 || given.Index >= tree.N ||
		tlog.CheckRecord(proof, tree.N, tree.Hash, given.Index, tlog.RecordHash([]byte(given.Entry))) != nil {
		return nil, mismatch(where, "has an entry that is not in the anchor log")
	}
	return anchor, nil
}

// logLeaf is the leaf of one log in the tree of logs.
func logLeaf(salt, logID []byte, tree tlog.Tree) tlog.Hash {
	size := binary.BigEndian.AppendUint64(nil, uint64(tree.N))
	return tlog.Hash(sha256.Sum256(slices.Concat([]byte("\x00annals/anchor-log/v1\x00"), salt, logID, size, tree.Hash[:])))
}

// wayUp is the root that a leaf has with these siblings, from the leaf up: a log's id is the way from the root to it, the
// highest bit first, left at 0.
func wayUp(logID []byte, hash tlog.Hash, siblings []tlog.Hash) tlog.Hash {
	for i, sibling := range siblings {
		bit := len(siblings) - 1 - i
		if logID[bit/8]>>(7-bit%8)&1 == 0 {
			hash = tlog.NodeHash(hash, sibling)
		} else {
			hash = tlog.NodeHash(sibling, hash)
		}
	}
	return hash
}

// checkAnchor holds the anchor of a receipt to the log's own trees. It says whether the receipt has one.
func (a *Auditor) checkAnchor(ctx context.Context, where string, receipt *Receipt, leaf tlog.Hash) (bool, error) {
	anchor, err := a.Anchor.OpenAnchor(where, receipt.Extra, receipt.Index, leaf)
	if err != nil || anchor == nil {
		return false, err
	}
	older, newer := anchor.Tree, receipt.Checkpoint.Tree
	if older.N > newer.N {
		older, newer = newer, older
	}
	return true, a.checkConsistency(ctx, older, newer, nil)
}

func decoded(text string) []byte {
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil
	}
	return data
}

// hashes is nil where one of them is none.
func hashes(texts []string) []tlog.Hash {
	all := []tlog.Hash{}
	for _, text := range texts {
		hash, err := parseHash(text)
		if err != nil {
			return nil
		}
		all = append(all, hash)
	}
	return all
}
