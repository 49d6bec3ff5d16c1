package h1

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(benchEnv) != "" {
		serveBench()
		return
	}
	goleak.VerifyTestMain(m)
}
