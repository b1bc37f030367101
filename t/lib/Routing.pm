# Servers and clients in network namespaces for tests of routing: each says who it saw.
#
#	my $net = Farm::Net->new(qw(client middle server));
#	my $server = Routing::Server->new($net, 'server', '10.0.0.2', 7000);    # TCP and UDP
#	Routing::ask($net, 'client', 'tcp', $to, $port, $from, $from_port);     # "HOST PORT" as the server saw it
#	my $held = Routing::hold($net, ...);                                    # the same, and stays connected
#	$held->again;
package Routing;
use strict;
use warnings;
use IPC::Open2 qw(open2);
use Steelyard;

our $server = <<'PERL';
use IO::Socket::IP; use IO::Select; use Socket qw(SOCK_DGRAM SOCK_STREAM getnameinfo);
my ($address, $port) = @ARGV;
my $tcp = IO::Socket::IP->new(LocalHost => $address, LocalPort => $port, Listen => 64, ReuseAddr => 1, Type => SOCK_STREAM) or die $@;
my $udp = IO::Socket::IP->new(LocalHost => $address, LocalPort => $port, Type => SOCK_DGRAM) or die $@;
my $all = IO::Select->new($tcp, $udp);
sub who { my (undef, $host, $port) = getnameinfo($_[0], 3); "$host $port" }
$SIG{PIPE} = 'IGNORE';
syswrite STDOUT, "ready\n";
while (1) {
	for my $sock ($all->can_read) {
		if ($sock == $tcp) {
			$all->add($tcp->accept // next);
		} elsif ($sock == $udp) {
			my $from = $udp->recv(my $said, 2048) // next;
			$udp->send("$said " . who($from) . "\n", 0, $from);
		} elsif (sysread $sock, my $said, 2048) {
			$said =~ s/\n$//;
			syswrite $sock, "$said " . who(getpeername $sock) . "\n";
		} else {
			$all->remove($sock);
			close $sock;
		}
	}
}
PERL

# Asks for each line of its input; UDP more than once if it must.
our $client = <<'PERL';
use IO::Socket::IP; use IO::Select; use Socket qw(SOCK_DGRAM SOCK_STREAM);
my ($proto, $to, $port, $from, $from_port) = @ARGV;
$| = 1;
my $sock = IO::Socket::IP->new(PeerHost => $to, PeerPort => $port, $from ? (LocalHost => $from) : (),
	$from_port ? (LocalPort => $from_port, ReuseAddr => 1) : (), Type => $proto eq 'udp' ? SOCK_DGRAM : SOCK_STREAM, Timeout => 10);
my $n = 0;
LINE: while (<STDIN>) {
	$n++;
	for my $try (1 .. $proto eq 'udp' ? 10 : 1) {
		$sock && syswrite $sock, "$n" . ($proto eq 'udp' ? '' : "\n") or last;
		my $end = time + ($proto eq 'udp' ? 1 : 20);
		while (IO::Select->new($sock)->can_read($end - time > 0 ? $end - time : 0)) {
			sysread($sock, my $said, 2048) or last;
			$said =~ /^$n (\S+ \S+)\n/ or next;
			print "$1\n";
			next LINE;
		}
	}
	print "nothing: ", ($sock ? $! : $@) =~ s/\n//gr, "\n";
}
PERL

sub hold {
	my ($net, $where, @what) = @_;
	my $pid = open2(my $out, my $in, $net->in($where), $^X, '-e', $client, map { $_ // '' } @what);
	my $self = bless { pid => $pid, out => $out, in => $in, owner => $$ }, 'Routing::Held';
	$self->{seen} = $self->again;
	return $self;
}

sub ask { hold(@_)->{seen} }

package Routing::Held;

sub again {
	my $self = shift;
	syswrite $self->{in}, "again\n";
	my $line = readline($self->{out}) // 'nothing';
	chomp $line;
	return $line;
}

sub DESTROY {
	my $self = shift;
	return unless $self->{owner} == $$;
	local ($?, $!, $@);
	close $self->{in};
	waitpid $self->{pid}, 0;
}

package Routing::Server;

sub new {
	my ($class, $net, $where, $address, $port) = @_;
	my $pid = open my $out, '-|';
	die "fork: $!" unless defined $pid;
	if (!$pid) {
		Steelyard::die_with_parent();
		exec $net->in($where), $^X, '-e', $Routing::server, $address, $port or POSIX::_exit(127);
	}
	my $self = bless { pid => $pid, out => $out, owner => $$ }, $class;
	(readline($out) // '') eq "ready\n" or die "no server at $address:$port";
	return $self;
}

sub DESTROY {
	my $self = shift;
	return unless $self->{owner} == $$;
	local ($?, $!, $@);
	kill 'KILL', $self->{pid};
	close $self->{out};
}

1;
