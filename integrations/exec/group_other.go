//go:build !unix

package exec

import (
	"errors"
	osexec "os/exec"
)

// inGroupOfItsOwn keeps a program from being started where there are no process
// groups: nothing could end its children.
func inGroupOfItsOwn(cmd *osexec.Cmd) {
	cmd.Err = errors.New("programs are run on Unix systems only")
}

func askGroupToEnd(cmd *osexec.Cmd) error { return cmd.Process.Kill() }

func killGroup(*osexec.Cmd) {}
