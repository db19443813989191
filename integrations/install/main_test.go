package install_test

import (
	"flag"
	"os"
	"strconv"
	"testing"
)

// lawsAtATime is how many laws are tried at a time, unless -parallel says otherwise:
// more than there are processors, because most of the time they wait for a system.
const lawsAtATime = 4

func TestMain(m *testing.M) {
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		if err := flag.Set("test.parallel", strconv.Itoa(lawsAtATime)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
