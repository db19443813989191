//go:build unix

package exec

import (
	"errors"
	"os"
	osexec "os/exec"
	"syscall"
)

// inGroupOfItsOwn makes a process the leader of a new process group.
func inGroupOfItsOwn(cmd *osexec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// askGroupToEnd lets a process and its children end by themselves.
func askGroupToEnd(cmd *osexec.Cmd) error {
	err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// killGroup ends whatever is left of a process group whose leader has ended. The
// number of the group stays taken while there is anyone in it.
func killGroup(cmd *osexec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // Nobody left is what is wanted.
}
