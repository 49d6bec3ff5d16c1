package repo

import (
	"os"
	"os/exec"
	"syscall"
)

// asNobody drops to the image's user where the test may do so (as root); another
// user is unprivileged already.
func asNobody(cmd *exec.Cmd) {
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
}
