// The judge: checks a log of Annals with code that the Go project wrote, and none of ours.
module annals.example/interop

go 1.26.0

require golang.org/x/mod v0.43.0
