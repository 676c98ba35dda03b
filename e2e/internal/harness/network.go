package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Network is a switch with hosts, apart from the networks of this machine: each is a network namespace. They have no
// names, and vanish with the process.
type Network struct {
	Hosts []*Host
	hub   namespace
}

// Host is a network namespace. Its Address can be reached from the other hosts, and from nowhere else.
type Host struct {
	Address string
	inside  namespace
	port    string // of the switch
	network *Network
}

// NewNetwork returns a network of so many hosts. The end of the tests closes it.
func NewNetwork(hosts int) (*Network, error) {
	n := &Network{}
	var err error
	if n.hub, err = newNamespace(); err != nil {
		return nil, err
	}
	if err := n.hub.run("ip link add hub type bridge", "ip link set hub up"); err != nil {
		return nil, err
	}
	for i := range hosts {
		// The network 192.0.2.0/24 is reserved for documentation: nobody has it.
		h := &Host{Address: fmt.Sprint("192.0.2.", i+1), port: fmt.Sprint("port", i+1), network: n}
		if h.inside, err = newNamespace(); err != nil {
			return nil, err
		}
		err := n.hub.run(
			fmt.Sprintf("ip link add %s type veth peer name eth0 netns /proc/%d/fd/%d", h.port, os.Getpid(), h.inside.Fd()),
			"ip link set "+h.port+" master hub up")
		if err == nil {
			err = h.inside.run("ip link set lo up", "ip address add "+h.Address+"/24 dev eth0", "ip link set eth0 up")
		}
		if err != nil {
			return nil, err
		}
		n.Hosts = append(n.Hosts, h)
	}
	return n, nil
}

// Cut makes the switch drop all packets from the host and to it, or no more. Nobody is told: connections stay open at
// both ends.
func (h *Host) Cut(cut bool) error {
	const disabled, forwarding = 0, 3
	state := forwarding
	if cut {
		state = disabled
	}
	return h.network.hub.run("bridge link set dev " + h.port + " state " + strconv.Itoa(state))
}

// Dial connects from the host to another.
func (h *Host) Dial(ctx context.Context, address string) (conn net.Conn, err error) {
	err = h.Do(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
		return err
	})
	return conn, err
}

// Do calls f in the host. Sockets that f opens are the host's, and so are processes that f starts, but not goroutines.
func (h *Host) Do(f func() error) error { return h.inside.do(f) }

// namespace is an open file of a network namespace.
type namespace struct{ *os.File }

func newNamespace() (namespace, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	back, err := ownNamespace()
	if err != nil {
		return namespace{}, err
	}
	defer back.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return namespace{}, fmt.Errorf("a network namespace cannot be made (%w): run the tests as root; a container needs "+
			"the capabilities SYS_ADMIN and NET_ADMIN, and no seccomp or AppArmor profile that forbids unshare", err)
	}
	made, err := ownNamespace()
	back.enter()
	if err == nil {
		AtEnd(func() { made.Close() })
	}
	return made, err
}

func ownNamespace() (namespace, error) {
	file, err := os.Open("/proc/thread-self/ns/net")
	return namespace{file}, err
}

// enter moves the thread, to which the goroutine is locked.
func (n namespace) enter() {
	if err := unix.Setns(int(n.Fd()), unix.CLONE_NEWNET); err != nil {
		panic(fmt.Sprint("the thread is in the wrong network namespace: ", err))
	}
}

func (n namespace) do(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	back, err := ownNamespace()
	if err != nil {
		return err
	}
	defer back.Close()
	n.enter()
	defer back.enter()
	return f()
}

// run runs commands in the namespace, which have no quotes.
func (n namespace) run(commands ...string) error {
	for _, command := range commands {
		words := strings.Fields(command)
		program, err := Program(words[0], "/usr/sbin", "/sbin", "/usr/bin")
		if err != nil {
			return err
		}
		cmd := exec.Command(program, words[1:]...)
		var out LockedBuffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := n.do(cmd.Start); err != nil {
			return err
		}
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("%s: %w: %s (it needs the capability NET_ADMIN)", command, err, out.String())
		}
	}
	return nil
}
