# A Steelyard daemon for tests, and what tests need around it. Everything waits for an event or a log
# line; nothing sleeps for luck. Time limits are generous: the machines are shared.
#
#	my $sy = Steelyard->start(<<'CONF');       # the rest (control socket, log) is added
#	pool p { server s1 127.0.0.1:$port; }
#	virtual-service web { listen 127.0.0.1:0; pool p; monitor tcp { interval 200ms; } }
#	CONF
#	my $port = $sy->port('web');               # the address that was bound for port 0
#	$sy->wait_up('web', 's1');                 # by the API
#	$sy->ctl('status', '--json');
#	$sy->reload($new_conf);                    # (ok, text)
#	$sy->stop;                                 # TERM; also at the end of the test
package Steelyard;
use strict;
use warnings;
use Carp qw(croak);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use IO::Socket::IP;
use IO::Socket::UNIX;
use JSON::PP ();
use POSIX qw(WNOHANG);
use Test::More ();
use Socket qw(SOCK_STREAM SOL_SOCKET SO_REUSEADDR);
use Time::HiRes qw(time sleep);

# A peer that closes must not kill the test; it would leave its helpers behind.
$SIG{PIPE} = 'IGNORE';

# The calling process ends when its parent does, however that ends.
sub die_with_parent {
	my %prctl = (x86_64 => 157, aarch64 => 167);
	my ($arch) = (POSIX::uname())[4];
	syscall($prctl{$arch}, 1, 9, 0, 0, 0) if $prctl{$arch}; # PR_SET_PDEATHSIG, SIGKILL
}

our $LIMIT = $ENV{STEELYARD_TEST_LIMIT} || 60; # seconds that any wait may take

sub build_dir { $ENV{STEELYARD_BUILD} || croak 'set STEELYARD_BUILD to the build folder' }
sub src_dir   { $ENV{STEELYARD_SRC}   || croak 'set STEELYARD_SRC to the source folder' }
sub steelyardd   { build_dir() . '/steelyardd' }
sub steelyardctl { build_dir() . '/steelyardctl' }
sub modules      { build_dir() . '/t/modules' }

# A port where nobody listens, of tcp, udp, or both: for programs that want to be given one, and for servers that are not
# there. Below those that the system gives to whoever connects or asks for any, so it stays free.
my @reserved; # names that keep others from a port until we end; they need no file
sub free_port {
	my $proto = shift || 'tcp';
	my @hosts = @_ ? @_ : '127.0.0.1';
	for (1 .. 100) {
		my $port = 10000 + int rand 20000;
		my $name = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => "\0steelyard-test-port-$port") // next;
		my @bound = map { my $host = $_; map { IO::Socket::IP->new(LocalHost => $host, LocalPort => $port, Proto => $_,
			$_ eq 'tcp' ? (Listen => 1) : ()) // () } $proto eq 'both' ? qw(tcp udp) : $proto } @hosts;
		next if @bound != @hosts * ($proto eq 'both' ? 2 : 1);
		push @reserved, $name;
		return $port;
	}
	croak 'no port is free';
}

# Waits until the code gives true; returns its value. Dies with the words otherwise.
sub wait_for {
	my ($what, $code, $limit) = @_;
	my $end = time + ($limit || $LIMIT);
	my $pause = 0.005;
	while (1) {
		my $got = $code->();
		return $got if $got;
		croak "waited in vain for $what" if time > $end;
		sleep $pause;
		$pause = $pause * 1.5 if $pause < 0.1;
	}
}

# args: the configuration as text; options: name => value:
#   args => [...]   more arguments for steelyardd
#   raw => 1        nothing is added to the configuration
#   env => {...}    more environment
#   wrap => [...]   a command to run it under (ip netns exec ..., strace ...)
#   fail => 1       it is expected to exit; returns after that
sub start {
	my ($class, $conf, %opt) = @_;
	my $dir = $opt{dir} || tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	chmod 0755, $dir;
	my $self = bless {
		dir => $dir, file => "$dir/steelyard.conf", log => "$dir/log", control => "$dir/control",
		owner => $$, raw => $opt{raw}, head => $opt{head} // '',
	}, $class;
	$self->write_conf($conf);
	my @cmd = (@{ $opt{wrap} || [] }, steelyardd(), '-c', $self->{file}, '-m', $opt{modules} || modules(),
		@{ $opt{args} || [] });
	local %ENV = (%ENV, %{ $opt{env} || {} });
	delete $ENV{NOTIFY_SOCKET} unless $opt{env}{NOTIFY_SOCKET};
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		die_with_parent();
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', $self->{log};
		open STDERR, '>>', $self->{log};
		exec @cmd or POSIX::_exit(127);
	}
	$self->{pid} = $pid;
	if ($opt{fail}) {
		wait_for('the daemon to give up', sub { !$self->alive });
	} else {
		wait_for('the daemon to be ready', sub {
			$self->alive or croak "the daemon ended:\n" . $self->log_text;
			$self->log_text =~ /master: ready/;
		});
	}
	return $self;
}

sub write_conf {
	my ($self, $conf) = @_;
	my $head = $self->{raw} ? '' : "control $self->{control};\n$self->{head}";
	$head .= "workers 2;\n" unless $self->{raw} || $conf =~ /^\s*workers\s/m || $head =~ /^\s*workers\s/m;
	$head .= "user nobody;\n" unless $self->{raw} || $conf =~ /^\s*user\s/m || $> != 0;
	open my $out, '>', "$self->{file}.new" or die "$self->{file}.new: $!";
	print $out $head, $conf;
	close $out or die $!;
	rename "$self->{file}.new", $self->{file} or die $!;
}

sub alive {
	my $self = shift;
	return 0 if defined $self->{status};
	if (waitpid($self->{pid}, WNOHANG) == $self->{pid}) {
		$self->{status} = $?;
		return 0;
	}
	return 1;
}

sub log_text {
	my $self = shift;
	open my $in, '<', $self->{log} or return '';
	local $/;
	my $text = <$in>;
	return $text // '';
}

# Waits for a line of the log; returns what the pattern captured (or the match).
sub wait_log {
	my ($self, $pattern, $limit) = @_;
	my @got;
	wait_for("the log to say $pattern", sub { @got = $self->log_text =~ $pattern; scalar @got }, $limit);
	return wantarray ? @got : $got[0];
}

# The real address of a listener of a service: by `listening:` lines, from the API's list otherwise.
sub addresses {
	my ($self, $service) = @_;
	my $list = $self->api('GET', '/v1/services');
	my ($found) = grep { $_->{name} eq $service } @{ $list->{services} };
	croak "no service $service" unless $found;
	return map { $_->{address} } @{ $found->{listeners} };
}

sub port {
	my ($self, $service, $n) = @_;
	my @all = $self->addresses($service);
	my ($port) = $all[$n || 0] =~ /:(\d+)(?:\/\w+)?$/;
	return $port;
}

# The port of the console when it was given as 0: the log tells it, by the line of the configuration.
sub console_port {
	my $self = shift;
	open my $in, '<', $self->{file} or die "$self->{file}: $!";
	my ($n, $at) = (0, 0);
	while (my $text = <$in>) {
		$n++;
		$at ||= $n if $text =~ /^\s*console\b/;
	}
	return $self->wait_log(qr/listening: \S+:(\d+) transport=tcp where=\Q$self->{file}\E:$at\b/);
}

# The JSON API on the control socket. Returns the decoded answer; status in list context.
sub api {
	my ($self, $method, $path, $body) = @_;
	my $sock = wait_for('the control socket', sub { IO::Socket::UNIX->new(Peer => $self->{control}) });
	$body = defined $body ? JSON::PP::encode_json($body) : '';
	print $sock "$method $path HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
		"Content-Type: application/json\r\nContent-Length: ", length $body, "\r\n\r\n$body";
	local $/;
	my $answer = <$sock> // '';
	my ($status) = $answer =~ m{^HTTP/1\.\d (\d+)} or croak "no answer to $method $path";
	my ($head, $content) = split /\r\n\r\n/, $answer, 2;
	if ($head =~ /^transfer-encoding:\s*chunked/im) {
		my $plain = '';
		while ($content =~ s/^([0-9a-fA-F]+)[^\r\n]*\r\n//) {
			my $n = hex $1 or last;
			$plain .= substr $content, 0, $n, '';
			$content =~ s/^\r\n//;
		}
		$content = $plain;
	}
	my $data = length $content ? JSON::PP->new->utf8->allow_nonref->decode($content) : undef;
	return wantarray ? ($data, $status) : $data;
}

# steelyardctl; output in scalar context, (output, exit status) in list context.
sub ctl {
	my ($self, @args) = @_;
	my $pid = open my $out, '-|';
	die "fork: $!" unless defined $pid;
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		exec steelyardctl(), '-s', $self->{control}, @args or POSIX::_exit(127);
	}
	local $/;
	my $text = <$out> // '';
	close $out;
	return wantarray ? ($text, $? >> 8) : $text;
}

# Writes the new configuration (if given) and reloads through steelyardctl: (ok, text).
sub reload {
	my ($self, $conf) = @_;
	$self->write_conf($conf) if defined $conf;
	my ($text, $status) = $self->ctl('reload');
	return ($status == 0, $text);
}

# One server as a service sees it, from the API.
sub seat {
	my ($self, $service, $server) = @_;
	my $list = $self->api('GET', '/v1/services');
	for my $s (grep { $_->{name} eq $service } @{ $list->{services} }) {
		for my $seat (@{ $s->{servers} }) {
			return $seat if $seat->{name} eq $server;
		}
	}
	return undef;
}

sub wait_state {
	my ($self, $service, $server, $state) = @_;
	return wait_for("$server in $service to be $state", sub {
		my $seat = $self->seat($service, $server);
		$seat && $seat->{state} eq $state;
	});
}
sub wait_up   { $_[0]->wait_state($_[1], $_[2], 'up') }
sub wait_down { $_[0]->wait_state($_[1], $_[2], 'down') }

# [{ role, pid, ... }] of the children, from the API.
sub processes { $_[0]->api('GET', '/v1/processes')->{processes} }
sub pid_of {
	my ($self, $role, $index) = @_;
	for my $p (@{ $self->processes }) {
		return $p->{pid} if $p->{role} eq $role && (!defined $index || ($p->{index} // 0) == $index);
	}
	return undef;
}

# What a sanitizer found in any of the processes makes the test fail.
sub sanitized {
	my $self = shift;
	return if $self->{sanitized}++;
	my @found = grep { /ERROR: \w+Sanitizer|: runtime error: / } split /\n/, $self->log_text;
	return unless @found;
	Test::More::ok(0, 'the sanitizers found nothing');
	Test::More::diag($self->log_text);
}

sub stop {
	my ($self, $signal) = @_;
	return $self->{status} unless $self->alive;
	kill $signal || 'TERM', $self->{pid};
	eval { wait_for('the daemon to end', sub { !$self->alive }) } or do {
		kill 'KILL', $self->{pid};
		waitpid $self->{pid}, 0;
		$self->{status} = $?;
		warn "the daemon did not end in time\n";
	};
	$self->sanitized;
	return $self->{status};
}

sub DESTROY {
	my $self = shift;
	return unless defined $self->{owner} && $self->{owner} == $$;
	local ($?, $@, $!);
	$self->stop if $self->{pid};
	$self->sanitized;
}

# A TCP server in a process of its own: each connection gets "hello NAME PEER\n" if greet is set, and
# every line is echoed as "NAME: line". Options: greet, address, port, delay (seconds before accept),
# mute (accepts, never answers), on (code, called with the accepted socket instead), each (the same,
# in a process of its own for each connection, which may outlive the server: it has no hold of the
# listening socket, so nobody can connect any more once the server is killed).
sub server {
	my ($class, $name, %opt) = @_;
	my $listen = IO::Socket::INET->new(
		LocalAddr => $opt{address} || '127.0.0.1', LocalPort => $opt{port} || 0,
		Listen => 1024, ReuseAddr => 1, Proto => 'tcp',
	) or die "server $name: $@";
	my $port = $listen->sockport;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		die_with_parent();
		$SIG{PIPE} = 'IGNORE';
		$SIG{CHLD} = 'IGNORE';
		$SIG{TERM} = 'DEFAULT';
		require IO::Select;
		my $select = IO::Select->new($listen);
		my %rest;
		while (1) {
			for my $sock ($select->can_read) {
				if ($sock == $listen) {
					my $conn = $listen->accept or next;
					if ($opt{on}) {
						$opt{on}->($conn);
						next;
					}
					if ($opt{each}) {
						defined(my $child = fork) or die "fork: $!";
						next if $child;
						close $listen;
						$opt{each}->($conn);
						POSIX::_exit(0);
					}
					$conn->autoflush(1);
					syswrite $conn, "hello $name " . $conn->peerhost . ':' . $conn->peerport . "\n"
						if $opt{greet};
					$rest{$conn} = '';
					$select->add($conn);
					next;
				}
				my $n = sysread $sock, my $bytes, 65536;
				if (!$n) {
					delete $rest{$sock};
					$select->remove($sock);
					close $sock;
					next;
				}
				next if $opt{mute};
				$rest{$sock} .= $bytes;
				while ($rest{$sock} =~ s/^([^\n]*)\n//) {
					syswrite $sock, "$name: $1\n";
				}
			}
		}
	}
	close $listen;
	return bless { pid => $pid, port => $port, name => $name, owner => $$, opt => \%opt }, 'Steelyard::Server';
}

package Steelyard::Server;

sub port { $_[0]{port} }
sub kill {
	my ($self, $signal) = @_;
	return unless $self->{pid};
	CORE::kill($signal || 'KILL', $self->{pid});
	waitpid $self->{pid}, 0 unless ($signal || 'KILL') =~ /STOP|CONT/;
	delete $self->{pid} unless ($signal || 'KILL') =~ /STOP|CONT/;
}

# The same server again on the same port.
sub again {
	my $self = shift;
	my $new = Steelyard->server($self->{name}, %{ $self->{opt} }, port => $self->{port});
	$self->{pid} = $new->{pid};
	delete $new->{pid};
	return $self;
}

sub DESTROY {
	my $self = shift;
	return unless $self->{pid} && $self->{owner} == $$;
	local ($?, $@, $!);
	CORE::kill('KILL', $self->{pid});
	waitpid $self->{pid}, 0;
}

1;
