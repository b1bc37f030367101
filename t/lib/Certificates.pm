# Authorities and certificates for tests, made with openssl in a folder of their own.
#
#	my $certs = Certificates->new;
#	$certs->authority('ca');                                        # ca.crt, ca.key
#	$certs->issue('web', ca => 'ca', names => ['web.example.net']); # web.crt, web.key
#	$certs->issue('old', ca => 'ca', from => -20, to => -10);       # days from now
#	$certs->revoke('ca', 'client');                                 # ca.crl lists it
#	$certs->path('web.crt');
package Certificates;
use strict;
use warnings;
use File::Temp qw(tempdir);
use POSIX qw(strftime);

sub new {
	my $class = shift;
	my $self = bless { dir => tempdir('certificates-XXXXXX', TMPDIR => 1, CLEANUP => 1), serial => 1000 }, $class;
	chmod 0755, $self->{dir};
	return $self;
}

sub dir { $_[0]{dir} }
sub path { "$_[0]{dir}/$_[1]" }

sub write_file {
	my ($self, $name, $text) = @_;
	open my $out, '>', $self->path($name) . '.new' or die $!;
	print $out $text;
	close $out or die $!;
	rename $self->path($name) . '.new', $self->path($name) or die $!;
	return $self->path($name);
}

sub read_file {
	my ($self, $name) = @_;
	open my $in, '<', $self->path($name) or die "$name: $!";
	local $/;
	return scalar <$in>;
}

sub openssl {
	my ($self, @args) = @_;
	my $pid = open my $out, '-|';
	die "fork: $!" unless defined $pid;
	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDERR, '>&', \*STDOUT;
		chdir $self->{dir};
		exec 'openssl', @args or POSIX::_exit(127);
	}
	local $/;
	my $text = <$out> // '';
	close $out or die "openssl @args: $text";
	return $text;
}

sub key {
	my ($self, $name, $kind) = @_;
	my @how = ($kind || 'rsa') eq 'ec' ? ('EC', '-pkeyopt', 'ec_paramgen_curve:P-256')
		: ('RSA', '-pkeyopt', 'rsa_keygen_bits:' . (($kind || '') =~ /^\d+$/ ? $kind : 2048));
	$self->openssl('genpkey', '-algorithm', @how, '-out', "$name.key");
}

sub authority {
	my ($self, $name, %opt) = @_;
	$self->key($name, $opt{key} || 'ec');
	if ($opt{ca}) {
		$self->sign($name, %opt, extensions => "basicConstraints=critical,CA:true\nkeyUsage=keyCertSign,cRLSign\n");
		return;
	}
	$self->openssl(qw(req -x509 -new -days 30), '-key', "$name.key", '-out', "$name.crt", '-subj', "/CN=Authority $name");
}

sub sign {
	my ($self, $name, %opt) = @_;
	my $dir = $self->{dir};
	my $at = sub { strftime('%Y%m%d%H%M%SZ', gmtime(time + $_[0] * 86400)) };
	my $ca = $opt{ca};
	$self->write_file("$name.cnf", <<CNF);
[ca]
default_ca = own
[own]
dir = .
database = ./$ca.index
serial = ./$ca.serial
new_certs_dir = .
certificate = ./$ca.crt
private_key = ./$ca.key
default_md = sha256
default_crl_days = 30
policy = any
unique_subject = no
[any]
commonName = supplied
[own_ext]
$opt{extensions}
CNF
	$self->write_file("$ca.index", '') unless -e "$dir/$ca.index";
	$self->write_file("$ca.serial", sprintf "%04X\n", $self->{serial} += 1000) unless -e "$dir/$ca.serial";
	$self->openssl(qw(req -new), '-key', "$name.key", '-out', "$name.csr", '-subj', '/CN=' . ($opt{cn} || $name));
	$self->openssl(qw(ca -batch -notext), '-config', "$name.cnf", '-extensions', 'own_ext', '-in', "$name.csr",
		'-out', "$name.crt", '-startdate', $at->($opt{from} // -1), '-enddate', $at->($opt{to} // 30));
}

# Writes NAME.crt, NAME.key; with chain => [...] also NAME.chain.
sub issue {
	my ($self, $name, %opt) = @_;
	my @names = @{ $opt{names} || ["$name.example.net"] };
	$self->key($name, $opt{key} || 'rsa') unless $opt{same_key};
	$self->sign($name, cn => $names[0], %opt, extensions => 'basicConstraints=CA:false' . "\n" .
		'subjectAltName=' . join(',', map { /^[\d.]+$/ ? "IP:$_" : "DNS:$_" } @names) . "\n");
	$self->write_file("$name.chain", join '', map { $self->read_file("$_.crt") } $name, @{ $opt{chain} || [] });
	$self->write_file("$name.pem", $self->read_file("$name.chain") . $self->read_file("$name.key"));
}

sub revoke {
	my ($self, $ca, @names) = @_;
	my ($config) = glob "$self->{dir}/*.cnf";
	for my $name (@names) {
		$self->openssl(qw(ca -batch), '-config', "$name.cnf", '-revoke', "$name.crt");
		$config = "$name.cnf";
	}
	$self->openssl(qw(ca -batch -gencrl), '-config', $config, '-out', "$ca.crl");
}

1;
