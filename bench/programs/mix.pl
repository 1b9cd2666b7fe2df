# What Perl programs are made of: hashes, regular expressions, strings, sorting, subroutines. usage: mix.pl TURNS
use strict;
use warnings;
use integer;

my $seed;
sub number { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; return $seed >> 8; }

sub lines {
    my @lines = map {
        sprintf "%04x host%d GET /%s/%d.html %d", number() % 65536, number() % 40, ("a" .. "k")[number() % 10], number() % 300, number() % 9000
    } 1 .. 1500;
    my (%host, %path, $long);
    for (@lines) {
        next unless /^([0-9a-f]+) (host\d+) GET (\S+?)\.html (\d+)$/;
        $host{$2} += $4;
        $path{$3}++ if hex($1) & 1;
        $long .= substr($_, 5, 6) if $4 > 8000;
    }
    (my $folded = $long // "") =~ s/host(\d)/<$1>/g;
    my @best = sort { $host{$b} <=> $host{$a} || $a cmp $b } keys %host;
    return $host{$best[0]} + keys(%path) + length($folded);
}

sub fib { my $n = shift; return $n < 2 ? $n : fib($n - 1) + fib($n - 2); }

sub list {
    my @a = map { number() % 10000 } 1 .. 3000;
    my @sorted = sort { $a <=> $b } @a;
    my $sum = 0;
    $sum += $sorted[$_] * ($_ & 3) for 0 .. $#sorted;
    return $sum + scalar(grep { $_ % 7 == 0 } @a) + length(join ",", reverse @sorted);
}

my $check = 0;
for my $turn (1 .. $ARGV[0]) {
    $seed = $turn;
    $check = ($check * 31 + lines() + fib(15) + list()) % 1000000007;
}
print "$check\n";
