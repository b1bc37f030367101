# Scripted clients for tests of the way, and the log line that each connection leaves.
package Way;
use strict;
use warnings;
use Carp qw(croak);
use Exporter qw(import);
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::IP;
use Socket qw(IPPROTO_TCP SOL_SOCKET SO_LINGER SO_RCVBUF SO_SNDBUF TCP_NODELAY);
use Steelyard;

our @EXPORT_OK = qw(modules_and dial say hear hear_all ending half_close cut exchange line_of lines_since mark);

$SIG{PIPE} = 'IGNORE';

# The modules of the build, and others of a test's own: protocol/NAME is made of t/way-NAME.c. The folder.
sub modules_and {
	my $dir = tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	my ($src, $build, $cc) = (Steelyard::src_dir(), Steelyard::build_dir(), $ENV{CC} || 'cc');
	chmod 0755, $dir;
	system('cp', '-r', Steelyard::modules() . '/.', $dir) == 0 or croak 'cp';
	for (@_) {
		my ($kind, $name) = m{^(\w+)/(\w+)$} or croak "$_: not KIND/NAME";
		my $out = `$cc -std=gnu11 -shared -fPIC -fvisibility=hidden -I$src/core -I$build/core -o $dir/$_.so $src/t/way-$name.c 2>&1`;
		croak "$kind $name: $out" if $? != 0;
	}
	return $dir;
}

# A connection to a port of 127.0.0.1, or to `address`; from `from`. Dies when there is none.
sub dial {
	my ($port, %opt) = @_;
	my $sock = IO::Socket::IP->new(
		PeerHost => $opt{address} // '127.0.0.1', PeerPort => $port,
		$opt{from} ? (LocalHost => $opt{from}) : (), Type => Socket::SOCK_STREAM,
	) or croak "connect to port $port: $@ $!";
	setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1;
	setsockopt $sock, SOL_SOCKET, SO_RCVBUF, $opt{receive} if $opt{receive};
	return $sock;
}

sub say {
	my ($sock, $bytes) = @_;
	while (length $bytes) {
		my $n = syswrite $sock, $bytes;
		return 0 unless defined $n;
		substr $bytes, 0, $n, '';
	}
	return 1;
}

# Reads until the pattern matches all that has come, and gives that; what came, when it ends before.
sub hear {
	my ($sock, $pattern, $limit) = @_;
	my $got = '';
	while ($got !~ $pattern) {
		return "$got<late>" unless IO::Select->new($sock)->can_read($limit // $Steelyard::LIMIT);
		my $n = sysread $sock, my $bytes, 65536;
		return "$got<reset>" unless defined $n;
		return "$got<end>" unless $n;
		$got .= $bytes;
	}
	return $got;
}
sub hear_all { return hear($_[0], qr/(?!)/, $_[1]) }

# 'end', 'reset' or 'late'; what comes before is thrown away.
sub ending {
	my ($sock, $limit) = @_;
	return hear_all($sock, $limit) =~ /<(\w+)>\z/ ? $1 : croak 'no ending';
}

sub half_close { shutdown $_[0], 1 }
# Ends with a reset.
sub cut {
	setsockopt $_[0], SOL_SOCKET, SO_LINGER, pack 'll', 1, 0;
	close $_[0];
}

# One line there, one line back, on a connection of its own.
sub exchange {
	my ($port, $line, %opt) = @_;
	my $sock = dial($port, %opt);
	return 'reset' unless Way::say($sock, "$line\n");
	return hear($sock, qr/\n/) =~ s/\n\z//r;
}

# Ports come again: only lines behind the mark count.
my %mark;
sub mark { my $sy = shift; $mark{$sy} = -s $sy->{log} }

sub lines_since {
	my ($sy, $which) = @_;
	open my $in, '<', $sy->{log} or croak "$sy->{log}: $!";
	seek $in, $mark{$sy} // 0, 0;
	return grep { /\n\z/ && ($which ? / $which / : / connection /) } <$in>;
}

# What the log says of the connection from this socket (or port): its fields, and `words`.
sub line_of {
	my ($sy, $from) = @_;
	my $port = ref $from ? $from->sockport : $from;
	my $line = Steelyard::wait_for("the line of port $port", sub {
		my @found = grep { / (?:client|via)=\S*:$port / } lines_since($sy);
		$found[-1];
	});
	my %field = $line =~ / (\w+)=("(?:[^"\\]|\\.)*"|\S+)/g;
	($field{words}) = $line =~ / connection (.*?) id=/;
	return \%field;
}

1;
