# Crowds of clients and servers that can stand them, for tests under load: t/helper-crowd.c and
# t/helper-server.c, and what /proc says about the processes in between.
#
#	my $server = Crowd::Server->new('s1');            # echo; ->port, ->kill('KILL'), ->again
#	my $crowd = Crowd->new("127.0.0.1:$port", hold => 64, every => 20, rate => 100);
#	my $now = $crowd->report;                         # { held, lost, new_ok, new_failed, ... }
#	$crowd->wait('all held', sub { $_[0]{held} == 64 });
package Crowd;
use strict;
use warnings;
use Exporter 'import';
use IO::Socket::INET;
use IPC::Open2 qw(open2);
use JSON::PP ();
use POSIX qw(WNOHANG);
use Steelyard;

our @EXPORT_OK = qw(memory cpu descriptors sanitized wait_for);

*wait_for = \&Steelyard::wait_for;

sub new {
	my ($class, $targets, %options) = @_;
	my @cmd = (Steelyard::build_dir() . '/t/helper-crowd', (map { "$_=$options{$_}" } sort keys %options),
		ref $targets ? @$targets : $targets);
	my $pid = open2(my $out, my $in, @cmd);
	return bless { pid => $pid, in => $in, out => $out, owner => $$ }, $class;
}

sub report {
	my $self = shift;
	syswrite $self->{in}, "r\n";
	my $line = readline $self->{out};
	die "the crowd is gone\n" unless defined $line;
	return JSON::PP::decode_json($line);
}

# Until the code likes the report, which it is given; returns the report.
sub wait {
	my ($self, $what, $code, $limit) = @_;
	my $last;
	eval { wait_for($what, sub { $last = $self->report; $code->($last) }, $limit); 1 }
		or die $@ . '# last report: ' . JSON::PP->new->canonical->encode($last) . "\n";
	return $last;
}

sub stop {
	my $self = shift;
	return unless $self->{pid};
	close $self->{in};
	close $self->{out};
	waitpid $self->{pid}, 0;
	delete $self->{pid};
}

sub DESTROY {
	my $self = shift;
	return unless $self->{pid} && $self->{owner} == $$;
	local ($?, $@, $!);
	$self->stop;
}

# Memory of a process in KiB: its proportional set, and `own`, without what it shares with whoever else has
# the same libraries mapped at the moment: tests beside this one.
sub memory {
	my $pid = shift;
	my %kib;
	open my $in, '<', "/proc/$pid/smaps_rollup" or return {};
	while (my $line = <$in>) {
		$kib{ lc $1 } = $2 if $line =~ /^(Pss|Rss|Private_Dirty|Private_Clean|Pss_Anon|Pss_Shmem):\s+(\d+)/;
	}
	$kib{own} = $kib{pss_anon} + $kib{pss_shmem};
	return \%kib;
}

# Seconds of processor time so far.
sub cpu {
	my $pid = shift;
	open my $in, '<', "/proc/$pid/stat" or return 0;
	my $line = <$in>;
	my @fields = split ' ', $line =~ s/.*\) //r;
	return ($fields[11] + $fields[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

sub descriptors {
	my $pid = shift;
	opendir my $dir, "/proc/$pid/fd" or return 0;
	return scalar grep { !/^\./ } readdir $dir;
}

# Built with sanitizers: its memory and its speed say nothing.
sub sanitized {
	open my $in, '<', Steelyard::build_dir() . '/config.h' or return 0;
	return scalar grep { /^#define SANITIZERS 1/ } <$in>;
}

package Crowd::Server;

sub new {
	my ($class, $name, %opt) = @_;
	my $self = bless { name => $name, opt => \%opt, owner => $$ }, $class;
	$self->open($opt{port} || 0);
	return $self;
}

sub open {
	my ($self, $port) = @_;
	my $opt = $self->{opt};
	$self->{pid} = IPC::Open2::open2($self->{out}, $self->{in}, Steelyard::build_dir() . '/t/helper-server',
		$self->{name}, $opt->{address} || '127.0.0.1', $port, $opt->{what} || 'echo');
	my $line = readline $self->{out};
	die "server $self->{name} does not start\n" unless defined $line;
	chomp($self->{port} = $line);
}

sub port { $_[0]{port} }
sub kill {
	my ($self, $signal) = @_;
	return unless $self->{pid};
	$signal ||= 'KILL';
	CORE::kill($signal, $self->{pid});
	return if $signal =~ /STOP|CONT/;
	waitpid $self->{pid}, 0;
	delete $self->{pid};
}

# The same again, on the same port.
sub again { $_[0]->open($_[0]{port}); return $_[0] }

# As a machine without power: what is connected hears nothing more, what connects gets no answer.
sub freeze {
	my $self = shift;
	CORE::kill('USR1', $self->{pid});
	select undef, undef, undef, 0.05;
	CORE::kill('STOP', $self->{pid});
	for (1 .. 4) {
		my $sock = IO::Socket::INET->new(Blocking => 0, PeerAddr => $self->{opt}{address} || '127.0.0.1',
			PeerPort => $self->{port});
		push @{ $self->{fill} }, $sock;
	}
}

sub thaw {
	my $self = shift;
	CORE::kill('USR2', $self->{pid});
	CORE::kill('CONT', $self->{pid});
	delete $self->{fill};
}

sub DESTROY {
	my $self = shift;
	return unless $self->{pid} && $self->{owner} == $$;
	local ($?, $@, $!);
	$self->kill;
}

1;
