package audit

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// TestExampleOfEntry makes the worked example of docs/formats.md and anchor/entry.ts from its words alone.
func TestExampleOfEntry(t *testing.T) {
	secret, logID := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{1}, 16)
	tree := tlog.Tree{N: 3, Hash: tlog.Hash(bytes.Repeat([]byte{2}, 32))}
	salt := sha256.Sum256(slices.Concat([]byte("annals/anchor-salt/v1\x00"), secret, logID))
	// Alone in its tree a log stands at a depth of 16, with a filling beside it at each step.
	var siblings []tlog.Hash
	for depth := 16; depth > 0; depth-- {
		path := make([]byte, 16)
		for bit := range depth {
			set := logID[bit/8]>>(7-bit%8)&1 == 1
			if bit == depth-1 {
				set = !set
			}
			if set {
				path[bit/8] |= 0x80 >> (bit % 8)
			}
		}
		filling := sha256.Sum256(slices.Concat([]byte("annals/anchor-filling/v1\x00"), secret, []byte{byte(depth)}, path))
		siblings = append(siblings, tlog.Hash(filling))
	}
	root := wayUp(logID, logLeaf(salt[:16], logID, tree), siblings)
	if root.String() != "tX1f+mokrG+gpa0X4ja4ygGMgG7K+eLFxZyqGRpDflk=" {
		t.Error("the root is", root)
	}
}

func TestEntries(t *testing.T) {
	entry := func(at string) []byte {
		return []byte("annals-anchor/v1\n" + at + "\ntX1f+mokrG+gpa0X4ja4ygGMgG7K+eLFxZyqGRpDflk=\n")
	}
	first, minute, soon := entry("2026-11-25T10:00:00.000Z"), entry("2026-11-25T10:01:00.000Z"), entry("2026-11-25T10:01:59.999Z")
	if err := checkEntries([][]byte{first, minute}); err != nil {
		t.Error(err)
	}
	at, root, err := parseEntry("entry", first)
	if err != nil || !at.Equal(time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)) || !strings.HasPrefix(root.String(), "tX1f") {
		t.Error(at, root, err)
	}
	for name, entries := range map[string][][]byte{
		"too soon":         {first, minute, soon},
		"out of order":     {minute, first},
		"a time of no day": {entry("2026-13-25T10:00:00.000Z")},
		"another spelling": {entry("2026-11-25T10:00:00Z")},
		"another line":     {append(first, "more\n"...)},
		"another name":     {bytes.Replace(first, []byte("v1"), []byte("v2"), 1)},
		"nothing":          {nil},
	} {
		if err := checkEntries(entries); err == nil {
			t.Errorf("%s is taken for the entries of an anchor log", name)
		}
	}
}
