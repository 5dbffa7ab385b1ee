// Judge checks a running log of Annals with the code of the Go checksum database.
//
//	judge -url http://127.0.0.1:4100/v1/organizations/org_acme/log -key "$(cat log.key)" -token "$KEY"
//
// It reads the newest checkpoint, every entry bundle and every tile, rebuilds the tree from the records, asks for
// inclusion proofs and receipts, and proves that the checkpoint is consistent with the one before (-rounds, or
// -state across runs). Exit codes are those of Annals: 0 right, 1 failed, 2 usage, 3 tampering, 4 unreachable.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"annals.example/interop/audit"
)

const (
	exitFailed      = 1
	exitUsage       = 2
	exitTampered    = 3
	exitUnreachable = 4
)

type list []string

func (l *list) String() string         { return strings.Join(*l, ", ") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("judge", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var keys, witnesses, anchorKeys list
	flags.Var(&keys, "key", "verifier `key` of the log; again for each key it signs with")
	flags.Var(&witnesses, "witness", "verifier `key` of a witness; may be repeated")
	flags.Var(&anchorKeys, "anchor-key", "verifier `key` of the anchor log, to check the anchor proofs of receipts; may be repeated")
	url := flags.String("url", "", "`prefix` of the log, such as http://127.0.0.1:4100/v1/organizations/org_acme/log")
	token := flags.String("token", "", "API `key` that may read the log")
	rounds := flags.Int("rounds", 1, "checkpoints to audit, one after another")
	interval := flags.Duration("interval", time.Second, "time between two rounds")
	state := flags.String("state", "", "`file` with the checkpoint of the last run; read first, written last")
	samples := flags.Int("samples", 100, "leaves to prove, spread evenly; 0 = every one")
	receipts := flags.Bool("receipts", true, "ask for the receipt of each sampled leaf's event")
	withheld := flags.Bool("allow-withheld", false, "count entries without bytes instead of failing")
	if err := flags.Parse(arguments); err != nil {
		return exitUsage
	}
	trusted, err := audit.ParseKeys(keys, witnesses)
	if err != nil || *url == "" || flags.NArg() > 0 || *rounds < 1 || *samples < 0 {
		fmt.Fprintln(stderr, "judge: -url and a well-formed -key are needed, and no other arguments", errorText(err))
		return exitUsage
	}
	var anchor *audit.Keys
	if len(anchorKeys) > 0 {
		if anchor, err = audit.ParseKeys(anchorKeys, witnesses); err != nil {
			fmt.Fprintln(stderr, "judge: a well-formed -anchor-key is needed", errorText(err))
			return exitUsage
		}
	}
	auditor := &audit.Auditor{
		Server: &audit.Server{
			Prefix: strings.TrimSuffix(*url, "/"),
			Token:  *token,
			Client: &http.Client{Timeout: 30 * time.Second},
		},
		Keys:   trusted,
		Anchor: anchor,
	}
	if err := resume(auditor, *state); err != nil {
		return fail(stderr, err, exitFailed)
	}
	options := audit.Options{Samples: *samples, Receipts: *receipts, AllowWithheld: *withheld}
	for round := range *rounds {
		if round > 0 {
			select {
			case <-ctx.Done():
				return exitFailed
			case <-time.After(*interval):
			}
		}
		report, err := auditor.Audit(ctx, options)
		if err != nil {
			return fail(stderr, err, exitUnreachable)
		}
		fmt.Fprintf(stdout, "%s: %d leaves; %d tiles, %d bundles, %d records (%d withheld), %d inclusion proofs, %d receipts (%d anchored), %d consistency proofs; %d witnesses\n",
			report.Origin, report.Size, report.Tiles, report.Bundles, report.Records, report.Withheld,
			report.Inclusions, report.Receipts, report.Anchored, report.Consistency, len(report.Witnesses))
	}
	if *state != "" {
		if err := os.WriteFile(*state, auditor.Last.Note, 0o600); err != nil {
			fmt.Fprintln(stderr, "judge:", err)
			return exitFailed
		}
	}
	return 0
}

func resume(auditor *audit.Auditor, state string) error {
	if state == "" {
		return nil
	}
	signed, err := os.ReadFile(state)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return auditor.Resume(signed)
}

// fail says what is wrong. What is no tampering has the exit code that otherwise says.
func fail(stderr io.Writer, err error, otherwise int) int {
	fmt.Fprintln(stderr, "judge:", err)
	if found := (*audit.Mismatch)(nil); errors.As(err, &found) {
		return exitTampered
	}
	return otherwise
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return "(" + err.Error() + ")"
}
