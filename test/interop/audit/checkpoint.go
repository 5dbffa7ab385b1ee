package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Keys are what an auditor trusts.
type Keys struct {
	Log       []note.Verifier // any one of them makes a checkpoint the log's
	Witnesses []note.Verifier
}

// ParseKeys reads verifier keys. All log keys must have one name, which is the log's origin.
func ParseKeys(logKeys, witnessKeys []string) (*Keys, error) {
	keys := &Keys{}
	for _, text := range logKeys {
		verifier, err := note.NewVerifier(text)
		if err != nil {
			return nil, err
		}
		keys.Log = append(keys.Log, verifier)
	}
	if len(keys.Log) == 0 {
		return nil, errors.New("no key of the log was given")
	}
	for _, verifier := range keys.Log {
		if verifier.Name() != keys.Log[0].Name() {
			return nil, errors.New("the keys are of several logs")
		}
	}
	for _, text := range witnessKeys {
		verifier, err := newWitness(text)
		if err != nil {
			return nil, err
		}
		keys.Witnesses = append(keys.Witnesses, verifier)
	}
	return keys, nil
}

// A Checkpoint is one that a key of the log signed.
type Checkpoint struct {
	Tree      tlog.Tree
	Note      []byte
	Witnesses []string // known witnesses that cosigned it
}

// Open checks the signatures of a checkpoint and that it is of the log the keys belong to.
func (k *Keys) Open(where string, signed []byte) (*Checkpoint, error) {
	opened, err := note.Open(signed, note.VerifierList(slices.Concat(k.Log, k.Witnesses)...))
	if err != nil {
		return nil, mismatch(where, "is not signed: %v", err)
	}
	checkpoint := &Checkpoint{Note: signed}
	byLog := false
	for _, signature := range opened.Sigs {
		if slices.ContainsFunc(k.Log, func(v note.Verifier) bool { return v.KeyHash() == signature.Hash && v.Name() == signature.Name }) {
			byLog = true
		} else {
			checkpoint.Witnesses = append(checkpoint.Witnesses, signature.Name)
		}
	}
	if !byLog {
		return nil, mismatch(where, "is signed by witnesses and not by the log")
	}
	lines := strings.Split(strings.TrimSuffix(opened.Text, "\n"), "\n")
	if len(lines) < 3 {
		return nil, mismatch(where, "is no checkpoint")
	}
	if lines[0] != k.Log[0].Name() {
		return nil, mismatch(where, "is of another log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return nil, mismatch(where, "has a size that is none")
	}
	root, err := parseHash(lines[2])
	if err != nil {
		return nil, mismatch(where, "has a root that is none")
	}
	checkpoint.Tree = tlog.Tree{N: size, Hash: root}
	return checkpoint, nil
}

// witness checks C2SP cosignature/v1 signatures, which Go's note package does not know.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func newWitness(vkey string) (*witness, error) {
	parts := strings.SplitN(vkey, "+", 3)
	if len(parts) != 3 {
		return nil, errors.New("malformed witness key")
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != 4 {
		return nil, errors.New("malformed witness key")
	}
	digest := sha256.Sum256(slices.Concat([]byte(parts[0]), []byte("\n"), key))
	hash := binary.BigEndian.Uint32(digest[:])
	if fmt.Sprintf("%08x", hash) != parts[1] {
		return nil, errors.New("the id of the witness key is not its own")
	}
	return &witness{name: parts[0], hash: hash, key: key[1:]}, nil
}

func (w *witness) Name() string    { return w.name }
func (w *witness) KeyHash() uint32 { return w.hash }

func (w *witness) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	header := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(signature))
	return ed25519.Verify(w.key, slices.Concat([]byte(header), text), signature[8:])
}
